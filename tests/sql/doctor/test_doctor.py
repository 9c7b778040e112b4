from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from plugins.clock import Clock
from plugins.executors import Executor, put_in_flight, rows
from plugins.queueing import claim, doctor, enqueue, put_queue

NewExecutor = Callable[..., Executor]


def test_nothing_when_healthy(executor: Executor) -> None:
    put_queue(executor.connection, "parts", partition_concurrency=1)
    enqueue(executor.connection, "a")
    enqueue(executor.connection, "b", queue="parts", partition_key="k", app_version=None)
    enqueue(executor.connection, "later", delay=timedelta(hours=1))
    claim(executor, fence=5)
    executor.start("direct", fence=6)
    executor.checkpoint("direct", 6, 1)
    executor.finish("direct", 6)

    assert doctor(executor.connection) == []


@pytest.mark.parametrize(
    ("damage", "subject"),
    [
        ("delete from pyengine.in_flight", "workflow w"),
        ("delete from pyengine.workflows", "workflow w"),
        ("insert into pyengine.checkpoints values ('x', 1, 's', null, null, null, null, now(), now())", "workflow x"),
        (
            "insert into pyengine.outcomes (workflow_id, status, completed_at, priority, attempts, crashes)"
            " values ('w', 'SUCCESS', now(), 0, 0, 0)",
            "workflow w",
        ),
    ],
)
def test_a_workflow_is_in_exactly_one_place(executor: Executor, damage: str, subject: str) -> None:
    enqueue(executor.connection, "w")
    executor.connection.execute(damage)

    assert doctor(executor.connection) == [(1, subject)]


@pytest.mark.parametrize(
    "damage",
    [
        "update pyengine.in_flight set executor_id = 999",
        "update pyengine.executors set dead_at = now(), dead_reason = 'x', handed_over_at = now()"
        " where executor_id = (select f.executor_id from pyengine.in_flight as f)",
    ],
)
def test_whoever_runs_something_exists(new_executor: NewExecutor, damage: str) -> None:
    owner, _ = new_executor(), new_executor()
    owner.start("w", fence=5)
    owner.connection.execute(damage)

    assert doctor(owner.connection) == [(2, "workflow w")]


@pytest.mark.parametrize("is_marked", [True, False])
def test_the_dead_are_taken_over_in_time(new_executor: NewExecutor, clock: Clock, is_marked: bool) -> None:
    dead, watcher = new_executor(), new_executor()
    dead.start("w", fence=5)
    if is_marked:
        watcher.mark_dead(dead)
    clock.advance(14)
    watcher.beat()
    clock.advance(1 if is_marked else 14)
    watcher.beat()
    in_time = doctor(watcher.connection)
    clock.advance(5)

    assert in_time == []
    assert doctor(watcher.connection) == [(2, f"executor {dead.id}")]


def test_unfinished_work_that_nobody_can_run_is_shown_with_what_to_do(executor: Executor) -> None:
    enqueue(executor.connection, "old", app_version="v0")
    (found,) = rows(executor.connection, "doctor")

    assert (found["invariant"], found["subject"]) == (5, "application app, version v0")
    assert "v0" in found["remedy"]


def test_suspects_that_nobody_may_run_are_shown(new_executor: NewExecutor, clock: Clock) -> None:
    child, dead = new_executor(is_supervised=True), new_executor(is_supervised=True)
    put_in_flight(child.connection, "bad", app_version="v1", crashes=3)
    child.mark_dead(dead, "child_died")
    child.take_over(dead)
    just_now = doctor(child.connection)
    for _ in range(7):
        clock.advance(10)
        child.beat()
    later = rows(child.connection, "doctor")
    new_executor(is_supervised=True, is_isolated=True)

    assert just_now == []
    assert [(each["invariant"], each["subject"]) for each in later] == [(5, "application app, version v1")]
    assert "alone" in later[0]["problem"]
    assert doctor(child.connection) == []


def test_without_a_supervisor_suspects_need_nobody_else(new_executor: NewExecutor) -> None:
    put_in_flight(new_executor().connection, "bad", app_version="v1", crashes=3)

    assert doctor(new_executor(is_supervised=True).connection) == []


def test_what_is_long_due_is_released(executor: Executor, clock: Clock) -> None:
    enqueue(executor.connection, "w", delay=timedelta(seconds=1))
    for _ in range(4):
        clock.advance(10)
        executor.beat()

    assert doctor(executor.connection) == [(5, "workflow w")]


def test_what_is_enqueued_in_a_partition_has_its_lane(executor: Executor) -> None:
    put_in_flight(executor.connection, "early", app_version="v1")
    put_in_flight(executor.connection, "laneless", app_version="v1", partition_key="k")
    put_queue(executor.connection, is_partitioned=True)

    assert sorted(doctor(executor.connection)) == [(5, "workflow early"), (5, "workflow laneless")]


def test_limits_hold_for_what_was_claimed_under_them(executor: Executor) -> None:
    put_queue(executor.connection, "lowered")
    put_queue(executor.connection, "broken", concurrency=1, worker_concurrency=1)
    for workflow_id in "ab":
        enqueue(executor.connection, f"lowered {workflow_id}", queue="lowered")
        enqueue(executor.connection, f"broken {workflow_id}", queue="broken")
    claim(executor, "lowered")
    put_queue(executor.connection, "lowered", concurrency=1)
    executor.connection.execute(
        "update pyengine.in_flight set status = 'PENDING', executor_id = %s, fence = 9, claimed_at = pyengine._now()"
        " where queue = 'broken'",
        (executor.id,),
    )

    assert doctor(executor.connection) == [(6, "queue broken of application app")] * 2
