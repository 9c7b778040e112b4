"""Pruning against whoever would begin, resume, remove or read what it removes, and against late writes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from plugins.clock import Clock
from plugins.executors import Executor, in_flight, outcome, read, row, rows, value
from plugins.queueing import cancel, doctor, resume
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
NewSession = Callable[..., Connection]


@pytest.fixture(autouse=True)
def _kept_for_a_day(session: Connection) -> None:
    rows(session, "put_retention", application="app", keep_for=timedelta(days=1))


def prune(connection: Connection) -> int:
    found: int = row(connection, "prune_workflows", limit=100)["pruned"]
    return found


def later(clock: Clock, *alive: Executor) -> None:
    """Two days on; nobody has died meanwhile."""
    clock.advance(2 * 24 * 3600)
    for each in alive:
        each.beat()


def left(connection: Connection) -> list[str]:
    tables = ("workflows", "in_flight", "outcomes", "checkpoints", "step_attempts")
    return [table for table in tables if read(connection, f"select 1 from pyengine.{table} where workflow_id = 'w'")]


def test_a_start_of_the_same_id_waits_and_begins_a_new_one(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, clock: Clock
) -> None:
    owner, other, keeper, observer = new_executor(), new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.checkpoint("w", 5, 0)
    owner.finish("w", 5)
    later(clock, owner, other)
    keeper.autocommit = False
    assert prune(keeper) == 1
    started = in_background(other.start, "w", 6)
    wait_until_blocked(observer, other.connection, by=keeper)
    keeper.commit()

    assert started.result(10)["verdict"] == "yours"
    assert left(observer) == ["workflows", "in_flight"]
    assert row(observer, "load_claims", **other.me, fences=[6])["workflow_id"] == "w"


def test_a_start_that_came_first_has_found_what_is_then_removed(
    new_executor: NewExecutor, session_factory: NewSession, clock: Clock
) -> None:
    owner, other, keeper = new_executor(), new_executor(), session_factory()
    owner.start("w", fence=5)
    owner.finish("w", 5)
    later(clock, owner, other)
    other.connection.autocommit = False
    assert other.start("w", 6)["verdict"] == "exists"

    assert prune(keeper) == 1, "it waits for nobody who only looked"
    other.connection.commit()
    assert left(keeper) == []


def test_a_resume_that_came_first_is_left_alone(
    new_executor: NewExecutor, session_factory: NewSession, clock: Clock
) -> None:
    owner, user, keeper = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    cancel(user, "w")
    owner.retire()
    new_executor().take_over(owner)
    later(clock)
    user.autocommit = False
    assert resume(user, "w") == "resumed"

    assert prune(keeper) == 0, "and it does not wait"
    user.commit()
    later(clock)
    assert prune(keeper) == 0
    assert (in_flight(keeper, "w") or {})["status"] == "ENQUEUED"


@pytest.mark.parametrize("act", ["resume", "delete", "prune"])
def test_whoever_comes_second_finds_nothing(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, clock: Clock, act: str
) -> None:
    owner, user, keeper, observer = new_executor(), session_factory(), session_factory(), session_factory()
    owner.start("w", fence=5)
    cancel(user, "w")
    later(clock, owner)
    keeper.autocommit = False
    assert prune(keeper) == 1
    if act == "prune":
        assert prune(user) == 0, "it does not wait"
    else:
        second = in_background(
            lambda: resume(user, "w") if act == "resume" else value(user, "delete_workflow", workflow_id="w")
        )
        wait_until_blocked(observer, user, by=keeper)
    keeper.commit()

    assert act == "prune" or second.result(10) == "unknown"
    assert left(observer) == []


def test_a_deletion_that_came_first(new_executor: NewExecutor, session_factory: NewSession, clock: Clock) -> None:
    owner, user, keeper = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.finish("w", 5)
    later(clock, owner)
    user.autocommit = False
    assert value(user, "delete_workflow", workflow_id="w") == "deleted"

    # Not even for the fence, which the deletion holds until its end: what is under it is left out.
    assert prune(keeper) == 0
    user.commit()
    assert left(keeper) == []


def test_a_reader_sees_all_of_it_or_nothing(
    new_executor: NewExecutor, session_factory: NewSession, clock: Clock
) -> None:
    owner, reader, keeper = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.finish("w", 5)
    later(clock, owner)
    keeper.autocommit = False
    prune(keeper)
    meanwhile = rows(reader, "read_outcomes", workflow_ids=["w"])
    keeper.commit()

    assert [each["status"] for each in meanwhile] == ["SUCCESS"]
    assert rows(reader, "read_outcomes", workflow_ids=["w"]) == []


def test_a_write_under_way_keeps_what_it_writes_for(
    new_executor: NewExecutor, session_factory: NewSession, clock: Clock
) -> None:
    """It passed the fence while the workflow ran, and is still open long after its cancellation."""
    owner, user, keeper = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    owner.checkpoint("w", 5, 0)
    cancel(user, "w")
    later(clock)

    assert prune(keeper) == 0
    owner.connection.commit()
    later(clock)
    assert prune(keeper) == 1
    assert left(keeper) == []


def test_a_write_that_comes_second_is_refused(
    new_executor: NewExecutor, session_factory: NewSession, clock: Clock
) -> None:
    owner, user, keeper = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    cancel(user, "w")
    later(clock, owner)
    keeper.autocommit = False
    assert prune(keeper) == 1
    # The fence was let go of: the owner's writes for others do not wait for the batch.
    assert owner.start("x", fence=6)["verdict"] == "yours"
    assert owner.checkpoint("w", 5, 0)["verdict"] in ("fenced", "cancelled")
    keeper.commit()

    assert owner.checkpoint("w", 5, 0)["verdict"] == "fenced"
    assert left(keeper) == []
    assert doctor(keeper) == []


def test_a_takeover(new_executor: NewExecutor, session_factory: NewSession, clock: Clock) -> None:
    old, new, keeper = new_executor(), new_executor(), session_factory()
    old.start("w", fence=5)
    old.finish("w", 5)
    old.start("x", fence=6)
    new.mark_dead(old)
    later(clock)
    keeper.autocommit = False
    assert prune(keeper) == 1
    assert new.take_over(old) == (1, 0, False), "it waits for nobody"
    keeper.commit()

    assert left(keeper) == []
    assert outcome(keeper, "x") is None


def test_a_parent_that_is_just_resumed_keeps_its_children(
    new_executor: NewExecutor, session_factory: NewSession, clock: Clock
) -> None:
    owner, user, keeper = new_executor(), session_factory(), session_factory()
    owner.start("parent", fence=5)
    owner.start_child("w", "parent", 5, 0, fence=6)
    owner.finish("w", 6)
    cancel(user, "parent")
    owner.retire()
    new_executor().take_over(owner)
    later(clock)
    user.autocommit = False
    assert resume(user, "parent") == "resumed"

    assert prune(keeper) == 0
    user.commit()
    later(clock)
    assert prune(keeper) == 0
    assert left(keeper) == ["workflows", "outcomes"]
