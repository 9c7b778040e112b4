from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from plugins.clock import Clock
from plugins.executors import Executor, in_flight, read, row, rows
from plugins.queueing import cancel, doctor, enqueue, resume

NewExecutor = Callable[..., Executor]
DAY = 24 * 3600.0
KEEP = timedelta(days=30)


def keep(executor: Executor, keep_for: timedelta | None = KEEP, application: str = "app") -> None:
    rows(executor.connection, "put_retention", application=application, keep_for=keep_for)


def prune(executor: Executor, limit: int = 100) -> tuple[int, bool]:
    found = row(executor.connection, "prune_workflows", limit=limit)
    return found["pruned"], found["remaining"]


def finished(executor: Executor, *workflow_ids: str, fence: int = 5, **arguments: object) -> None:
    for workflow_id in workflow_ids:
        executor.start(workflow_id, fence=fence, **arguments)
        executor.checkpoint(workflow_id, fence, 0)
        executor.attempt(workflow_id, fence, 1, 1)
        executor.finish(workflow_id, fence)


def left(executor: Executor) -> list[str]:
    found = read(executor.connection, "select workflow_id from pyengine.workflows order by workflow_id")
    return [each["workflow_id"] for each in found]


def test_removes_all_of_what_finished_longer_ago(executor: Executor, clock: Clock) -> None:
    keep(executor)
    finished(executor, "old")
    clock.advance(30 * DAY - 60)
    assert prune(executor) == (0, False)
    finished(executor, "new")
    clock.advance(61)

    assert prune(executor) == (1, False)
    assert left(executor) == ["new"]
    for table in ("outcomes", "checkpoints", "step_attempts"):
        found = read(executor.connection, f"select distinct workflow_id from pyengine.{table}")
        assert found == [{"workflow_id": "new"}], table
    assert doctor(executor.connection) == []


def test_a_start_of_its_id_begins_a_new_one(executor: Executor, clock: Clock) -> None:
    keep(executor)
    finished(executor, "w")
    before = executor.start("w", fence=6)["verdict"]
    clock.advance(31 * DAY)
    prune(executor)

    assert (before, executor.start("w", fence=7)["verdict"]) == ("exists", "yours")
    assert len(read(executor.connection, "select 1 from pyengine.checkpoints")) == 0


@pytest.mark.parametrize("how", ["runs", "waits", "delayed", "resumed"])
def test_what_is_unfinished_stays_however_old(executor: Executor, clock: Clock, how: str) -> None:
    keep(executor)
    if how == "waits":
        enqueue(executor.connection, "w")
    elif how == "delayed":
        enqueue(executor.connection, "w", delay=timedelta(days=99))
    else:
        executor.start("w", fence=5)
        executor.checkpoint("w", 5, 0)
    if how == "resumed":
        cancel(executor.connection, "w")
        resume(executor.connection, "w")
    clock.advance(60 * DAY)

    assert prune(executor) == (0, False)
    assert in_flight(executor.connection, "w") is not None
    assert read(executor.connection, "select 1 from pyengine.checkpoints") == [{"?column?": 1}] * (
        how in ("runs", "resumed")
    )


def test_who_ended_long_after_its_neighbours_is_found_by_another_walk(executor: Executor, clock: Clock) -> None:
    keep(executor)
    executor.start("late", fence=5)
    finished(executor, "w")
    clock.advance(31 * DAY)
    assert prune(executor) == (1, False)
    clock.advance(60)
    prune(executor)
    executor.finish("late", 5)
    clock.advance(31 * DAY)
    assert prune(executor) == (0, False), "that walk is past it"
    clock.advance(60)
    prune(executor)

    assert left(executor) == []


def test_goes_in_batches_and_rests_when_it_has_caught_up(executor: Executor, clock: Clock) -> None:
    keep(executor)
    finished(executor, *(f"w{number}" for number in range(5)))
    clock.advance(31 * DAY)

    assert [prune(executor, 2) for _ in range(4)] == [(2, True), (2, True), (1, False), (0, False)]
    finished(executor, "w")
    clock.advance(31 * DAY)
    executor.beat()
    assert ("prune_workflows", None) in executor.housekeep()
    assert prune(executor, 2) == (1, False)
    clock.advance(2)
    assert executor.housekeep() == []


def test_a_child_stays_as_long_as_its_parent(executor: Executor, clock: Clock) -> None:
    """Run again, the parent asks for the child's result."""
    keep(executor)
    executor.start("parent", fence=5)
    executor.start_child("child", "parent", 5, 0, fence=6)
    executor.start_child("grandchild", "child", 6, 0, fence=7)
    executor.finish("grandchild", 7)
    executor.finish("child", 6)
    clock.advance(31 * DAY)
    running = prune(executor)
    executor.finish("parent", 5)
    clock.advance(29 * DAY)
    just_ended = prune(executor)
    assert left(executor) == ["child", "grandchild", "parent"]
    clock.advance(2 * DAY)
    for _ in range(2):
        prune(executor)
        clock.advance(60)

    assert (running, just_ended) == ((0, False), (0, False))
    assert left(executor) == []


def test_a_child_goes_after_its_parent_though_batches_part_them(executor: Executor, clock: Clock) -> None:
    keep(executor)
    executor.start("parent", fence=5)
    for number in range(3):
        executor.start_child(f"child{number}", "parent", 5, number, fence=10 + number)
        executor.finish(f"child{number}", 10 + number)
    executor.finish("parent", 5)
    clock.advance(31 * DAY)

    assert [prune(executor, 2) for _ in range(2)] == [(2, True), (2, True)]
    assert left(executor) == []


def test_each_application_has_its_own(new_executor: NewExecutor, clock: Clock) -> None:
    ours, theirs, silent = new_executor(), new_executor(application="theirs"), new_executor(application="silent")
    keep(ours)
    keep(theirs, None, "theirs")
    finished(ours, "ours")
    finished(theirs, "theirs", application="theirs")
    finished(silent, "silent", application="silent")
    clock.advance(1000 * DAY)

    assert prune(silent) == (1, False), "whoever comes does it"
    assert left(ours) == ["silent", "theirs"]
    keep(theirs, timedelta(days=1), "theirs")
    assert prune(ours) == (1, False)
    assert left(ours) == ["silent"]


def test_what_finished_before_its_executor_was_forgotten(new_executor: NewExecutor, clock: Clock) -> None:
    """And then the executor's label goes, too: no outcome names it any more."""
    gone, alive = new_executor(), new_executor()
    keep(alive)
    finished(gone, "w")
    gone.retire()
    alive.take_over(gone)
    clock.advance(2 * DAY)
    rows(alive.connection, "prune_executors", limit=10)
    finished(alive, "x")
    prune(alive)
    labels = read(alive.connection, "select executor_id from pyengine.former_executors")
    clock.advance(29 * DAY)

    assert labels == [{"executor_id": gone.id}], "it is named as long as what it ran is kept"
    assert prune(alive) == (1, False)
    assert read(alive.connection, "select executor_id from pyengine.former_executors") == []


def test_a_clock_set_back_does_not_stop_it(executor: Executor, clock: Clock) -> None:
    keep(executor)
    finished(executor, "w")
    clock.advance(31 * DAY)
    prune(executor)
    clock.advance(-20 * DAY)
    keep(executor, timedelta(days=1))
    finished(executor, "x")
    clock.advance(2 * DAY)
    for _ in range(2):
        prune(executor)
        clock.advance(60)

    assert left(executor) == []


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_looks_at_no_more_than_it_may(executor: Executor, clock: Clock, is_analyzed: bool) -> None:
    """With plans made for an empty table, and for a full one."""
    keep(executor)
    executor.connection.execute("set plan_cache_mode = force_generic_plan")
    prune(executor)
    executor.connection.execute(
        "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
        " select 'w' || n, 'flow', 'app', n, pyengine._now() from generate_series(1, 20000) as n"
    )
    executor.connection.execute(
        "insert into pyengine.outcomes (workflow_id, status, completed_at, priority, attempts, crashes)"
        " select 'w' || n, 'SUCCESS', pyengine._now(), 0, 1, 0 from generate_series(1, 20000) as n"
    )
    if is_analyzed:
        executor.connection.execute("analyze pyengine.workflows, pyengine.outcomes")
    clock.advance(31 * DAY)
    executor.connection.autocommit = False
    assert prune(executor, 10) == (10, True)
    looked_at = read(
        executor.connection,
        "select c.relname, pg_stat_get_xact_tuples_returned(c.oid) as rows from pg_class as c"
        " where c.relnamespace = 'pyengine'::regnamespace and c.relkind in ('r', 'i')",
    )
    executor.connection.rollback()

    assert [each for each in looked_at if each["rows"] > 100] == []
    assert any(each["rows"] for each in looked_at), "they are counted"
