"""An outage is no mass death: restarts, failovers, steps of the clock, and times when nobody was there to look."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plugins.clock import Clock
from plugins.executors import Executor


@pytest.fixture
def old(new_executor: Callable[..., Executor]) -> Executor:
    """Alive at the last round, with a liveness lock that nobody holds any more."""
    made = new_executor()
    made.connection.execute(
        "update pyengine.executors set liveness_pid = 1, liveness_started_at = '2000-01-01' where executor_id = %s",
        (made.id,),
    )
    return made


def rounds(executor: Executor, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)
        executor.beat()
        executor.housekeep()


def dies_after(executor: Executor, other: Executor, clock: Clock) -> int:
    """In skipped seconds. The clock runs on meanwhile, so on a slow machine fewer are enough."""
    for second in range(60):
        if other.dead_reason is not None:
            return second
        rounds(executor, clock, 1)
    raise AssertionError("still alive")


RESTART = "update pyengine.housekeeping set server_started_at = server_started_at - interval '1 hour'"
FAILOVER = "update pyengine.housekeeping set timeline = '1/00000009'"


@pytest.mark.parametrize("change", [RESTART, FAILOVER])
def test_restart_and_failover_give_one_ttl_without_looks(
    executor: Executor, old: Executor, clock: Clock, change: str
) -> None:
    executor.housekeep()
    executor.connection.execute(change)
    clock.advance(1)
    executor.housekeep()

    # Looks begin when the grace is over: the first, and the second a second later.
    assert dies_after(executor, old, clock) in range(8, 18)


def test_outage_longer_than_the_lease_kills_nobody(
    executor: Executor, clock: Clock, new_executor: Callable[..., Executor]
) -> None:
    beating = new_executor()
    executor.housekeep()
    executor.connection.execute(RESTART)
    clock.advance(600)
    executor.housekeep()
    assert beating.dead_reason is None
    rounds(executor, clock, 8)
    beating.beat()
    rounds(executor, clock, 8)

    assert beating.dead_reason is None


def test_clock_that_steps_back_does_not_keep_the_dead_alive(
    executor: Executor, clock: Clock, new_executor: Callable[..., Executor]
) -> None:
    silent = new_executor()
    executor.housekeep()
    clock.advance(-3600)
    executor.housekeep()

    assert dies_after(executor, silent, clock) in range(8, 16)


def test_clock_that_jumps_while_executors_are_there_is_an_outage(
    executor: Executor, old: Executor, clock: Clock
) -> None:
    executor.housekeep()
    clock.advance(3600)
    executor.housekeep()

    assert dies_after(executor, old, clock) in range(8, 18)


def test_mere_gap_believes_liveness_locks_after_two_seconds(
    executor: Executor, old: Executor, clock: Clock, new_executor: Callable[..., Executor]
) -> None:
    executor.housekeep()
    clock.advance(3600)
    newcomer = new_executor()
    newcomer.housekeep()
    assert old.dead_reason is None

    assert dies_after(newcomer, old, clock) in (1, 2, 3)


def test_mere_gap_extends_expired_leases(
    executor: Executor, clock: Clock, new_executor: Callable[..., Executor]
) -> None:
    silent = new_executor()
    executor.housekeep()
    clock.advance(3600)
    newcomer = new_executor()
    newcomer.housekeep()
    assert silent.dead_reason is None

    assert dies_after(newcomer, silent, clock) in range(8, 16)


def test_short_gap_is_nothing(executor: Executor, clock: Clock, new_executor: Callable[..., Executor]) -> None:
    silent = new_executor()
    executor.housekeep()
    for _ in range(8):
        clock.advance(2)
        executor.housekeep()

    assert silent.dead_reason == "lease_expired"
