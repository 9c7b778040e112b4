"""Who may be silent for long, who not, and what that does to everybody's leases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Executor, Row, row, rows
from plugins.queueing import claim, enqueue

NewExecutor = Callable[..., Executor]
RESTS_FOR = timedelta(minutes=3)


def ask(executor: Executor, *queues: str) -> Row:
    return row(
        executor.connection, "rest_executor",
        **executor.me, queues=list(queues), accepts_unversioned=True, rests_for=RESTS_FOR,
    )  # fmt: skip


def reason(executor: Executor, *queues: str) -> str | None:
    found = ask(executor, *queues)
    assert found["may_rest"] == (found["reason"] is None)
    told: str | None = found["reason"]
    return told


def lease(executor: Executor, clock: Clock) -> float:
    """How long it lasts."""
    seconds: float = (executor.stored()["lease_expires_at"] - clock.now()).total_seconds()
    return seconds


def is_resting(executor: Executor) -> bool:
    return executor.stored()["rests_for"] is not None


def test_an_idle_executor_has_a_long_lease_until_its_next_beat(executor: Executor, clock: Clock) -> None:
    found = ask(executor, "q")
    assert (found["may_rest"], found["due_in"], found["oldest_protocol"]) == (True, None, 1)
    assert 170 < lease(executor, clock) <= 180
    assert is_resting(executor)

    executor.beat()
    assert lease(executor, clock) <= executor.stored()["lease_ttl"].total_seconds()
    assert not is_resting(executor)


def test_who_rests_is_shown_as_alive(executor: Executor) -> None:
    ask(executor)
    found = executor.connection.execute("select state, is_resting from pyengine.executor_status").fetchone()
    assert found == ("ALIVE", True)


def test_nobody_rests_while_somebody_works(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor(application="other")
    two.start("w", fence=7)

    assert (reason(one), reason(two)) == ("running", "running")
    assert not is_resting(one)
    two.finish("w", 7)
    assert (reason(one), reason(two)) == (None, None)


def test_who_could_claim_something_does_not_rest(executor: Executor) -> None:
    enqueue(executor.connection, "w", app_version="v1")
    enqueue(executor.connection, "other version", app_version="v0", queue="r")

    assert (reason(executor, "q"), reason(executor, "r")) == ("work", None)


def test_work_without_a_version_is_work(executor: Executor) -> None:
    enqueue(executor.connection, "w", app_version=None)

    assert reason(executor, "q") == "work"


def test_who_has_died_with_work_is_waited_for(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor()
    one.mark_dead(two)

    assert reason(one) == "takeover"
    one.take_over(two)
    assert reason(one) is None


def test_what_falls_due_ends_the_rest(executor: Executor, clock: Clock) -> None:
    enqueue(executor.connection, "later", delay=timedelta(seconds=100))
    assert 90 < ask(executor, "q")["due_in"] <= 100
    enqueue(executor.connection, "soon", app_version="v0", deadline=clock.now() + timedelta(seconds=50))
    assert 40 < ask(executor, "q")["due_in"] <= 50

    clock.advance(60)
    assert reason(executor, "q") == "due"


def test_retention_counts_from_when_there_may_be_something_to_remove(executor: Executor, clock: Clock) -> None:
    rows(executor.connection, "put_retention", application="app", keep_for=timedelta(hours=2))
    assert 7100 < ask(executor)["due_in"] <= 7200, "the next walk from the oldest"

    clock.advance(3600)
    executor.start("w", fence=7)
    executor.finish("w", 7)
    clock.advance(3700)
    assert reason(executor) == "due"
    rows(executor.connection, "prune_workflows", limit=100)
    assert 3400 < ask(executor)["due_in"] <= 3500, "the first header comes of age"


def test_a_call_of_its_own_that_is_under_way_is_waited_for(
    executor: Executor, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    other = session_factory(autocommit=False)
    other.execute("select pyengine._hold_lease(%s, %s)", (executor.id, executor.nonce))

    assert reason(executor) == "busy"
    assert not is_resting(executor)
    other.rollback()
    assert reason(executor) is None


def test_one_that_was_declared_dead_is_told(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor()
    two.mark_dead(one)

    with pytest.raises(psycopg.Error) as raised:
        ask(one)
    assert raised.value.sqlstate == "WF001"


def test_a_fleet_that_wakes_shortens_no_lease_and_takes_nobody_for_dead(
    new_executor: NewExecutor, clock: Clock
) -> None:
    early, late = new_executor(), new_executor()
    early.housekeep()
    for executor in (early, late):
        assert reason(executor) is None
    clock.advance(100)
    early.beat()
    early.housekeep()
    assert late.dead_reason is None
    assert 170 < lease(late, clock) <= 180

    for _ in range(60):
        clock.advance(1)
        early.beat()
        early.housekeep()
    assert late.dead_reason is None
    late.beat()
    assert lease(late, clock) <= late.stored()["lease_ttl"].total_seconds()


def test_one_that_dies_resting_is_declared_dead_when_its_lease_is_over(new_executor: NewExecutor, clock: Clock) -> None:
    one, two = new_executor(), new_executor()
    reason(two)
    one.housekeep()
    # The clock goes on by itself besides: a busy machine has seconds to spare on either side of the lease's end.
    found = []
    for _ in range(24):
        clock.advance(8)
        one.beat()
        one.connection.execute("update pyengine.housekeeping set ticked_at = pyengine._now() - interval '1 second'")
        one.housekeep()
        found.append(two.dead_reason)

    assert found[:21] == [None] * 21
    assert found[-1] == "lease_expired"


def test_the_gap_of_a_rest_is_no_outage(new_executor: NewExecutor, clock: Clock) -> None:
    """Liveness locks are believed at two looks, where an outage has nobody look at them for a TTL."""
    one, two = new_executor(), new_executor()
    one.housekeep()
    reason(one)
    clock.advance(60)
    two.connection.execute(
        "update pyengine.executors set liveness_pid = 1, liveness_started_at = '2000-01-01' where executor_id = %s",
        (two.id,),
    )
    for _ in range(5):
        one.beat()
        one.housekeep()
        clock.advance(1)

    assert two.dead_reason == "liveness_lost"


def test_a_supervisor_that_beats_for_one_that_rests_leaves_it_resting(executor: Executor, clock: Clock) -> None:
    reason(executor)
    clock.advance(50)
    rows(
        executor.connection, "watch_executors", executor_ids=[executor.id], nonces=[executor.nonce], renew=True
    )  # fmt: skip

    assert is_resting(executor)
    assert 170 < lease(executor, clock) <= 180


def test_one_that_rested_claims_under_its_ordinary_lease(executor: Executor, clock: Clock) -> None:
    reason(executor, "q")
    enqueue(executor.connection, "w")
    executor.beat()
    assert claim(executor) == ["w"]
    assert lease(executor, clock) <= executor.stored()["lease_ttl"].total_seconds()
