"""Resting against the executor's own writes, marks, and the work of others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Connection, Executor, in_flight, row
from plugins.sessions import wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
NewSession = Callable[..., Connection]


def ask(connection: Connection, executor: Executor) -> str | None:
    given = {"queues": [], "accepts_unversioned": True, "rests_for": timedelta(minutes=3)}
    reason: str | None = row(connection, "rest_executor", **executor.me, **given)["reason"]
    return reason


def is_resting(executor: Executor) -> bool:
    return executor.stored()["rests_for"] is not None


@pytest.mark.parametrize(("ends", "reason"), [("commit", "running"), ("rollback", None)])
def test_a_start_that_is_under_way_keeps_it_awake(
    new_executor: NewExecutor, session_factory: NewSession, ends: str, reason: str | None
) -> None:
    executor, beat = new_executor(), session_factory()
    executor.connection.autocommit = False
    executor.start("w", fence=7)
    assert ask(beat, executor) == "busy"

    getattr(executor.connection, ends)()
    assert ask(beat, executor) == reason


def test_a_start_that_comes_second_waits_until_it_is_known_that_it_rests(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    """The process lets none come: it is the late original of one that was answered long ago. The next call sees it."""
    executor, beat, observer = new_executor(), session_factory(autocommit=False), session_factory()
    assert ask(beat, executor) is None
    started = in_background(executor.start, "w", fence=7)
    wait_until_blocked(observer, executor.connection, by=beat)
    beat.commit()

    started.result(10)
    assert in_flight(observer, "w") is not None
    assert ask(beat, executor) == "running"


def test_a_mark_that_came_first_is_final(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    executor, witness = new_executor(), new_executor()
    beat, observer = session_factory(), session_factory()
    witness.connection.autocommit = False
    witness.mark_dead(executor)
    asked = in_background(ask, beat, executor)
    wait_until_blocked(observer, beat, by=witness.connection)
    witness.connection.commit()

    with pytest.raises(psycopg.Error) as raised:
        asked.result(10)
    assert raised.value.sqlstate == "WF001"


def test_a_mark_that_comes_second_finds_a_longer_lease(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, clock: Clock
) -> None:
    executor, housekeeper = new_executor(), new_executor()
    beat, observer = session_factory(autocommit=False), session_factory()
    clock.advance(16)
    housekeeper.beat()
    assert ask(beat, executor) is None
    marked = in_background(row, housekeeper.connection, "_mark_the_dead", executor_id=housekeeper.id, look_gap=None)
    wait_until_blocked(observer, housekeeper.connection, by=beat)
    beat.commit()
    marked.result(10)

    assert executor.dead_reason is None
    assert is_resting(executor)


def test_two_that_ask_at_once_both_rest(new_executor: NewExecutor, session_factory: NewSession) -> None:
    one, two = new_executor(), new_executor()
    first = session_factory(autocommit=False)
    assert ask(first, one) is None
    assert ask(two.connection, two) is None
    first.commit()

    assert is_resting(one)
    assert is_resting(two)


def test_its_own_question_twice_at_once_is_answered_once(
    new_executor: NewExecutor, session_factory: NewSession
) -> None:
    executor, late = new_executor(), session_factory(autocommit=False)
    assert ask(late, executor) is None
    assert ask(executor.connection, executor) == "busy"
    late.commit()
    assert ask(executor.connection, executor) is None


def test_who_dies_after_its_rest_is_found_by_one_that_rests_still(new_executor: NewExecutor, clock: Clock) -> None:
    resting, died = new_executor(), new_executor()
    resting.housekeep()
    for executor in (resting, died):
        assert ask(executor.connection, executor) is None
    clock.advance(10)
    died.beat()
    died.start("w", fence=7)
    # The next call of the other one comes within a minute of its last.
    clock.advance(49)
    assert ask(resting.connection, resting) == "running"
    seconds = 0
    resting.beat()
    while ("take_over", died.id) not in resting.housekeep():
        clock.advance(1)
        resting.beat()
        seconds += 1
        # Nobody was there to look when its lease ended: it got another one.
        assert seconds <= 16

    assert resting.take_over(died)[0] == 1
    assert died.dead_reason == "lease_expired"
