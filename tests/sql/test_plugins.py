"""The test infrastructure itself: a database per test, waiting for blocked sessions, a clock that jumps, programs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.processes import Processes
from plugins.sessions import wait_until_blocked

SessionFactory = Callable[..., psycopg.Connection[Any]]


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_has_a_database_of_its_own(session_factory: SessionFactory, round_: int) -> None:
    session = session_factory()

    session.execute("create table public.mine (round_ integer)")

    assert session.execute("select count(*) from pyengine.workflows").fetchone() == (0,)


def test_a_session_that_waits_for_a_lock_is_seen_waiting(
    session_factory: SessionFactory, in_background: Callable[..., Future[Any]]
) -> None:
    holder, waiter, observer = session_factory(), session_factory(), session_factory()
    holder.execute("select pg_advisory_lock(1)")

    waiting = in_background(waiter.execute, "select pg_advisory_lock(1)")
    blockers = wait_until_blocked(observer, waiter.info.backend_pid)
    holder.execute("select pg_advisory_unlock(1)")

    assert blockers == [holder.info.backend_pid]
    waiting.result(5)


def test_a_session_that_does_not_wait_is_told_apart(session_factory: SessionFactory) -> None:
    idle, observer = session_factory(), session_factory()

    with pytest.raises(AssertionError, match="is not blocked"):
        wait_until_blocked(observer, idle.info.backend_pid, timeout_seconds=0.1)


def test_the_clock_jumps_for_every_session(clock: Any, session: psycopg.Connection[Any]) -> None:
    before = session.execute("select pyengine._now()").fetchone()

    clock.advance(3600)
    after = session.execute("select pyengine._now()").fetchone()

    assert before is not None
    assert after is not None
    assert 3600 <= (after[0] - before[0]).total_seconds() < 3660


def test_a_program_is_watched_and_killed(processes: Processes) -> None:
    program = processes.start(
        """
        import sys, time
        print("ready", flush=True)
        print("warned", file=sys.stderr, flush=True)
        time.sleep(600)
        """
    )

    program.wait_for_line("^ready$")
    program.wait_for_line("^warned$")
    program.kill()

    assert program.wait() == -9
    assert program.stdout == ["ready"]


def test_a_line_that_never_comes_is_reported_with_what_was_printed(processes: Processes) -> None:
    program = processes.start("print('something else')")

    with pytest.raises(AssertionError, match=r"(?s)before the end.*something else"):
        program.wait_for_line("^ready$")
