"""A deletion against the run of the workflow, its late writes, and whoever else would move or begin it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, in_flight, read, value
from plugins.queueing import cancel, claim, doctor, enqueue, resume
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
NewSession = Callable[..., Connection]
INTERNAL = "_dbos_internal_queue"
WRITES: dict[str, Callable[[Executor], Any]] = {
    "checkpoint": lambda old: old.checkpoint("w", 5, 0),
    "sleep": lambda old: old.sleep("w", 5, 0, 1),
    "attempt": lambda old: old.attempt("w", 5, 0, 1),
    "finish": lambda old: old.finish("w", 5),
    "child": lambda old: old.start_child("child", "w", 5, 0),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
TABLES = ("workflows", "in_flight", "outcomes", "checkpoints", "step_attempts")


def delete(connection: Connection) -> str:
    found: str = value(connection, "delete_workflow", workflow_id="w")
    return found


def left(connection: Connection) -> list[str]:
    return [
        table
        for table in TABLES
        if read(connection, f"select 1 from pyengine.{table} where workflow_id = 'w'")  # the child is another workflow
    ]


def verdict(found: Any) -> str:
    return found["verdict"] if isinstance(found, dict) else str(found)


@every_write
def test_a_write_that_came_first_is_waited_for(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, write: Callable[..., Any]
) -> None:
    owner, user, observer = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    write(owner)
    deleted = in_background(delete, user)
    wait_until_blocked(observer, user, by=owner.connection)
    assert "workflows" in left(observer)
    owner.connection.commit()

    assert deleted.result(10) == "deleted"
    assert left(observer) == []


@every_write
def test_a_write_that_comes_second_is_refused(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, write: Callable[..., Any]
) -> None:
    owner, user, observer = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    user.autocommit = False
    assert delete(user) == "deleted"
    late = in_background(write, owner)
    wait_until_blocked(observer, owner.connection, by=user)
    user.commit()

    assert verdict(late.result(10)) == "fenced"
    assert left(observer) == []
    assert read(observer, "select 1 from pyengine.workflows") == []


@every_write
def test_a_write_of_an_owner_that_was_cancelled_first(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, write: Callable[..., Any]
) -> None:
    """It passed the fence before the cancellation: the last owner is then known by the outcome alone."""
    owner, user, observer = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    # It holds the fence, and nothing of the workflow yet.
    value(owner.connection, "_hold_lease", **owner.me)
    assert cancel(user, "w") == "cancelled"
    deleted = in_background(delete, user)
    wait_until_blocked(observer, user, by=owner.connection)
    assert verdict(write(owner)) == "cancelled"
    owner.connection.commit()

    assert deleted.result(10) == "deleted"
    assert left(observer) == []


def test_a_claim_under_way_makes_it_begin_anew(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    """Nobody's fence was to be taken when it looked; now there is an owner who writes."""
    owner, user, observer = new_executor(), session_factory(), session_factory()
    enqueue(observer, "w")
    owner.connection.autocommit = False
    assert claim(owner, fence=5) == ["w"]
    deleted = in_background(delete, user)
    wait_until_blocked(observer, user, by=owner.connection)
    owner.connection.commit()

    with pytest.raises(psycopg.Error) as caught:
        deleted.result(10)
    assert caught.value.sqlstate == "40001"
    assert (in_flight(observer, "w") or {})["fence"] == 5
    assert delete(user) == "deleted"
    owner.connection.autocommit = True
    assert owner.finish("w", 5) == "fenced"


def test_a_claim_after_it_finds_nothing(new_executor: NewExecutor, session_factory: NewSession) -> None:
    owner, user = new_executor(), session_factory()
    enqueue(user, "w")
    user.autocommit = False
    delete(user)

    assert claim(owner) == [], "and does not wait"
    user.commit()
    assert claim(owner) == []


@pytest.mark.parametrize("is_deleted_first", [True, False])
def test_a_takeover(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, is_deleted_first: bool
) -> None:
    old, new, user, observer = new_executor(), new_executor(), session_factory(), session_factory()
    old.start("w", fence=5)
    new.mark_dead(old)
    first, second = (user, new.connection) if is_deleted_first else (new.connection, user)
    calls = {user: lambda: delete(user), new.connection: lambda: new.take_over(old)}
    first.autocommit = False
    calls[first]()
    other = in_background(calls[second])
    wait_until_blocked(observer, second, by=first)
    first.commit()

    assert other.result(10) == ((0, 0, False) if is_deleted_first else "deleted")
    assert left(observer) == []
    assert doctor(observer) == []


@pytest.mark.parametrize("is_deleted_first", [True, False])
def test_a_resume(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, is_deleted_first: bool
) -> None:
    owner, user, other, observer = new_executor(), session_factory(), session_factory(), session_factory()
    owner.start("w", fence=5)
    cancel(user, "w")
    user.autocommit = False
    if is_deleted_first:
        delete(user)
        second = in_background(resume, other, "w")
    else:
        resume(user, "w")
        second = in_background(delete, other)
    wait_until_blocked(observer, other, by=user)
    user.commit()

    assert second.result(10) == ("unknown" if is_deleted_first else "deleted")
    assert left(observer) == []
    assert claim(owner, INTERNAL) == []


@pytest.mark.parametrize("is_deleted_first", [True, False])
def test_a_cancellation(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, is_deleted_first: bool
) -> None:
    owner, user, other, observer = new_executor(), session_factory(), session_factory(), session_factory()
    owner.start("w", fence=5)
    user.autocommit = False
    if is_deleted_first:
        delete(user)
        second = in_background(cancel, other, "w")
    else:
        cancel(user, "w")
        second = in_background(delete, other)
    wait_until_blocked(observer, other, by=user)
    user.commit()

    assert second.result(10) == ("unknown" if is_deleted_first else "deleted")
    assert left(observer) == []


def test_a_start_of_the_same_id_waits_and_begins_a_new_one(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    owner, other, user, observer = new_executor(), new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.checkpoint("w", 5, 0)
    owner.finish("w", 5)
    user.autocommit = False
    delete(user)
    started = in_background(other.start, "w", 6)
    wait_until_blocked(observer, other.connection, by=user)
    user.commit()

    assert started.result(10)["verdict"] == "yours"
    assert left(observer) == ["workflows", "in_flight"]


def test_two_deletions(new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground) -> None:
    owner, user, other, observer = new_executor(), session_factory(), session_factory(), session_factory()
    owner.start("w", fence=5)
    user.autocommit = False
    delete(user)
    second = in_background(delete, other)
    wait_until_blocked(observer, other, by=user)
    user.commit()

    assert second.result(10) == "unknown"


@pytest.mark.parametrize("act", [delete, lambda connection: resume(connection, "w")], ids=["delete", "resume"])
def test_a_dead_owner_that_froze_is_disconnected(
    new_executor: NewExecutor, session_factory: NewSession, act: Callable[[Connection], str]
) -> None:
    owner, user = new_executor(), session_factory()
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    owner.checkpoint("w", 5, 0)
    cancel(user, "w")
    new_executor().mark_dead(owner)

    assert act(user) in ("deleted", "resumed")
    with pytest.raises(psycopg.OperationalError):
        owner.connection.commit()
    assert read(user, "select 1 from pyengine.checkpoints") == []


@pytest.mark.parametrize("act", [delete, lambda connection: resume(connection, "w")], ids=["delete", "resume"])
def test_a_living_owner_that_froze_is_not_waited_for_for_ever(
    new_executor: NewExecutor, session_factory: NewSession, act: Callable[[Connection], str]
) -> None:
    owner, user = new_executor(), session_factory()
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    owner.checkpoint("w", 5, 0)
    cancel(user, "w")

    with pytest.raises(psycopg.Error) as caught:
        act(user)
    assert caught.value.sqlstate == "55P03"
    owner.connection.commit()
    assert act(user) in ("deleted", "resumed")
