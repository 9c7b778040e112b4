"""Who is marked dead, and when, while the server and the clock behave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Executor, value
from plugins.sessions import wait_until


@pytest.fixture
def old(new_executor: Callable[..., Executor]) -> Executor:
    return new_executor()


def pass_time(executor: Executor, clock: Clock, seconds: int) -> None:
    """Time as an idle executor spends it: a beat and a round every second. One long jump would be an outage."""
    for _ in range(seconds):
        clock.advance(1)
        executor.beat()
        executor.housekeep()


def disconnect(executor: Executor, observer: psycopg.Connection[Any]) -> None:
    """End the connection and wait until the server has noticed: until then its locks are held."""
    pid = executor.connection.info.backend_pid
    executor.connection.close()
    gone = "select not exists (select from pg_stat_activity where pid = %s)"
    wait_until(lambda: observer.execute(gone, (pid,)).fetchone() == (True,), what="the backend's end")
    executor.connection = observer


def test_expired_lease_is_marked_and_told(executor: Executor, old: Executor, clock: Clock) -> None:
    executor.housekeep()
    pass_time(executor, clock, 9)
    assert old.dead_reason is None
    pass_time(executor, clock, 6)

    assert old.dead_reason == "lease_expired"
    clock.advance(1)
    assert executor.housekeep() == [("take_over", old.id)]
    executor.take_over(old)
    clock.advance(1)
    assert executor.housekeep() == []


def test_beating_executor_lives(executor: Executor, old: Executor, clock: Clock) -> None:
    executor.housekeep()
    for _ in range(6):
        pass_time(executor, clock, 7)
        old.beat()

    assert old.dead_reason is None


def test_rounds_are_half_a_second_apart(executor: Executor, old: Executor, clock: Clock) -> None:
    old.retire()

    assert executor.housekeep() == [("take_over", old.id)]
    assert executor.housekeep() == []
    clock.advance(0.5)
    assert executor.housekeep() == [("take_over", old.id)]


def test_dead_executor_keeps_no_house(executor: Executor, old: Executor) -> None:
    executor.mark_dead(old)

    with pytest.raises(psycopg.Error) as caught:
        old.housekeep()
    assert caught.value.sqlstate == "WF001"


def test_free_liveness_lock_at_two_looks(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    disconnect(old, executor.connection)

    pass_time(executor, clock, 1)
    assert old.dead_reason is None
    pass_time(executor, clock, 1)
    assert old.dead_reason == "liveness_lost"


def test_beat_between_two_looks_saves(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    disconnect(old, executor.connection)
    pass_time(executor, clock, 1)
    assert old.stored()["liveness_missed_at"] is not None
    old.beat()
    pass_time(executor, clock, 5)

    assert old.dead_reason is None


def test_lock_that_is_held_again_at_the_second_look_saves(
    executor: Executor, old: Executor, clock: Clock, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    old.hold_liveness()
    executor.housekeep()
    disconnect(old, executor.connection)
    pass_time(executor, clock, 1)
    old.connection = session_factory()
    assert old.hold_liveness()
    pass_time(executor, clock, 3)

    assert old.dead_reason is None
    assert old.stored()["liveness_missed_at"] is None


def test_held_liveness_lock_gives_four_ttls(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    pass_time(executor, clock, 45)
    assert old.dead_reason is None
    pass_time(executor, clock, 15)

    assert old.dead_reason == "lease_expired"


def test_lock_of_the_housekeepers_own_session_is_not_taken_for_free(executor: Executor, clock: Clock) -> None:
    """A supervisor's first child beats, and holds liveness, for its siblings on one connection."""
    sibling = Executor(executor.connection)
    sibling.hold_liveness()
    executor.housekeep()
    pass_time(executor, clock, 5)

    assert sibling.dead_reason is None
    assert value(executor.connection, "hold_liveness", **sibling.me)
