"""Writes of an executor against its takeover: each lands before the rows move, or is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, in_flight, put_in_flight, read, rows, value
from plugins.replies import CALLS, Call, World, snapshot
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
# What looks at the executor's row alone takes no fence.
WRITES = {
    name: call for name, call in CALLS.items() if call.is_fenced and name not in ("tick", "beat", "hold liveness")
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


@pytest.fixture
def world(new_executor: NewExecutor) -> World:
    return World(new_executor(), new_executor(), new_executor())


@every_write
def test_write_that_came_first_is_waited_for(
    world: World, session: Connection, in_background: InBackground, write: Call
) -> None:
    old, new = world.owner, world.other
    old.connection.autocommit = False
    assert write(world) == write.first
    alone = snapshot(old.connection)
    new.mark_dead(old)
    takeover = in_background(new.take_over, old)
    wait_until_blocked(session, new.connection, by=old.connection)
    old.connection.commit()

    assert not takeover.result(10)[2]
    assert [found for found in snapshot(session) if owns(found, old)] == []
    # Nothing of the write is lost, and of what it made runnable nothing is run by the dead.
    for table in ("workflows", "outcomes", "checkpoints", "step_attempts"):
        assert of(table, snapshot(session)) == of(table, alone)


@every_write
def test_write_that_comes_second_is_refused(
    world: World, session: Connection, in_background: InBackground, write: Call
) -> None:
    old, new = world.owner, world.other
    new.mark_dead(old)
    new.connection.autocommit = False
    assert not new.take_over(old)[2]
    late = in_background(write, world)
    wait_until_blocked(session, old.connection, by=new.connection)
    new.connection.commit()
    taken = snapshot(session)

    with pytest.raises(psycopg.Error) as caught:
        late.result(10)
    assert caught.value.sqlstate == "WF001"
    assert snapshot(session) == taken


def owns(found: dict[str, Any], executor: Executor) -> bool:
    return found["place"] == "in_flight" and found["executor_id"] == executor.id


def of(table: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in found if each["place"] == table]


def test_mark_is_seen_though_it_came_while_the_fence_was_waited_for(
    new_executor: NewExecutor, in_background: InBackground
) -> None:
    """The look at the mark is a statement of its own: with the snapshot of the wait's begin it would miss it."""
    observer, old, new = new_executor(), new_executor(), new_executor()
    old.start("w", fence=5)
    new.connection.autocommit = False
    assert value(new.connection, "_seize_fence", executor_id=old.id)
    late = in_background(old.checkpoint, "w", 5, 0)
    wait_until_blocked(observer.connection, old.connection, by=new.connection)
    new.mark_dead(old)
    new.connection.commit()

    with pytest.raises(psycopg.Error) as caught:
        late.result(10)
    assert caught.value.sqlstate == "WF001"


def test_two_takeovers_follow_each_other(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, old, one, two = (new_executor() for _ in range(4))
    old.start("w", fence=5)
    one.mark_dead(old)
    one.connection.autocommit = False
    assert one.take_over(old) == (1, 0, False)
    second = in_background(two.take_over, old)
    wait_until_blocked(observer.connection, two.connection, by=one.connection)
    one.connection.commit()

    assert second.result(10) == (0, 0, False)


def test_takeover_that_is_at_work_is_not_terminated(new_executor: NewExecutor) -> None:
    old, one, two = (new_executor() for _ in range(3))
    old.start("w", fence=5)
    one.mark_dead(old)
    one.connection.autocommit = False
    one.take_over(old)

    assert two.take_over(old) == (0, 0, True)
    one.connection.commit()
    assert two.take_over(old) == (0, 0, False)


def test_frozen_client_is_disconnected(new_executor: NewExecutor) -> None:
    old, new = new_executor(), new_executor()
    old.start("w", fence=5)
    old.connection.autocommit = False
    old.checkpoint("w", 5, 0)
    new.mark_dead(old)

    assert new.take_over(old) == (0, 0, True)
    while (taken := new.take_over(old))[2]:
        pass
    assert taken == (1, 0, False)
    with pytest.raises(psycopg.OperationalError):
        old.connection.commit()
    assert read(new.connection, "select 1 from pyengine.checkpoints") == []


@pytest.fixture
def plain_role(session: psycopg.Connection[Any]) -> Iterator[str]:
    role = f"pyengine_test_{secrets.token_hex(4)}"
    for statement in (
        f"create role {role}",
        f"grant usage on schema pyengine to {role}",
        f"grant all on all tables in schema pyengine to {role}",
        f"grant all on all functions in schema pyengine to {role}",
    ):
        session.execute(statement.encode())
    yield role
    session.execute(f"drop owned by {role}".encode())
    session.execute(f"drop role {role}".encode())


def test_backend_of_a_stronger_role_is_waited_for(new_executor: NewExecutor, plain_role: str) -> None:
    old, new = new_executor(), new_executor()
    old.start("w", fence=5)
    old.connection.autocommit = False
    old.checkpoint("w", 5, 0)
    new.mark_dead(old)
    new.connection.execute(f"set role {plain_role}".encode())

    assert new.take_over(old) == (0, 0, True)
    old.connection.commit()
    assert new.take_over(old) == (1, 0, False)
    new.connection.execute("reset role")


def test_cancellation_under_way_is_not_waited_for(new_executor: NewExecutor) -> None:
    old, new, user = new_executor(), new_executor(), new_executor()
    old.start("w", fence=5)
    new.mark_dead(old)
    user.connection.autocommit = False
    rows(user.connection, "cancel_workflow", workflow_id="w")

    assert new.take_over(old) == (0, 0, True)
    user.connection.commit()
    assert new.take_over(old) == (0, 0, False)


def test_cancellation_finds_the_row_that_moved(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, old, new, user = (new_executor() for _ in range(4))
    old.start("w", fence=5)
    new.mark_dead(old)
    new.connection.autocommit = False
    new.take_over(old)
    cancelled = in_background(value, user.connection, "cancel_workflow", workflow_id="w")
    wait_until_blocked(observer.connection, user.connection, by=new.connection)
    new.connection.commit()

    assert cancelled.result(10) == "cancelled"
    assert in_flight(observer.connection, "w") is None


def test_enqueue_into_the_same_new_lane_with_the_same_key_is_no_deadlock(
    new_executor: NewExecutor, in_background: InBackground
) -> None:
    """The enqueue holds the new lane and then meets the deduplication key that a moved row has."""
    observer, old, new, other = (new_executor() for _ in range(4))
    owned = {"status": "PENDING", "executor_id": old.id, "fence": 5, "claimed_at": "2000-01-01"}
    put_in_flight(observer.connection, "w", partition_key="p", deduplication_id="d", **owned)
    new.mark_dead(old)
    other.connection.autocommit = False
    rows(other.connection, "_open_lane", queue="q", application="app", partition_key="p")
    takeover = in_background(new.take_over, old)
    wait_until_blocked(observer.connection, new.connection, by=other.connection)
    other.connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, partition_key, deduplication_id)"
        " values ('x', 'ENQUEUED', 'q', 'app', 'p', 'd')"
        " on conflict (queue, application, deduplication_id) where deduplication_id is not null do nothing"
    )
    other.connection.commit()

    assert takeover.result(10) == (1, 0, False)
