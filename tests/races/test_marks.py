"""What a claim may skip while a snapshot is held, against what changes it: partitions before a mark, what ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plugins.executors import Executor, in_flight, read
from plugins.queueing import claim, enqueue, put_queue
from plugins.sessions import Connection

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]


def seq_of(connection: Connection, workflow_id: str) -> int:
    row = in_flight(connection, workflow_id)
    assert row is not None
    number: int = row["seq"]
    return number


def turn_of(connection: Connection, key: str) -> Any:
    (lane,) = read(connection, "select served_at from pyengine.lanes where partition_key = %s", key)
    return lane["served_at"]


def count_from_here(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(pyengine._advisory_key('queue', 'app/q'))")
        connection.execute("select pyengine._count_from_here('app', 'q')")


@pytest.mark.parametrize("commits_first", [True, False])
def test_a_row_that_was_long_in_coming_to_its_partition_is_found_from_the_head(
    new_executor: NewExecutor, session_factory: NewSession, commits_first: bool
) -> None:
    """It drew its number before those that were claimed meanwhile, and holds the partition."""
    executor, slow = new_executor(), session_factory(autocommit=False)
    put_queue(executor.connection, is_partitioned=True)
    enqueue(executor.connection, "first", partition_key="k")
    enqueue(slow, "slow", partition_key="k")
    enqueue(executor.connection, "quick", partition_key="k")
    assert claim(executor) == ["first", "quick"]
    enqueue(executor.connection, "next", partition_key="k")
    mark = {("k", 0): seq_of(executor.connection, "next")}
    if commits_first:
        slow.commit()
    assert claim(executor, lanes=mark) == ["next"]
    slow.commit()

    assert claim(executor, lanes=mark) == []
    assert claim(executor) == ["slow"]


@pytest.mark.parametrize("commits_first", [True, False])
def test_a_partition_that_was_long_in_coming_is_found_from_the_head(
    new_executor: NewExecutor, session_factory: NewSession, commits_first: bool
) -> None:
    executor, slow = new_executor(), session_factory(autocommit=False)
    put_queue(executor.connection, is_partitioned=True)
    enqueue(slow, "slow", partition_key="slow")
    enqueue(executor.connection, "quick", partition_key="quick")
    turn = turn_of(executor.connection, "quick")
    if commits_first:
        slow.commit()
    assert claim(executor, lanes={}, served_at=turn) == ["quick"]
    slow.commit()

    assert claim(executor, lanes={}, served_at=turn) == []
    assert claim(executor) == ["slow"]


@pytest.mark.parametrize("commits_first", [True, False])
def test_a_partition_with_a_mark_outlives_a_claim_and_keeps_what_is_put_there_meanwhile(
    new_executor: NewExecutor, session_factory: NewSession, commits_first: bool, healthy: None
) -> None:
    executor, user = new_executor(), session_factory(autocommit=False)
    put_queue(executor.connection, is_partitioned=True)
    enqueue(executor.connection, "old", partition_key="k")
    mark = {("k", 0): seq_of(executor.connection, "old")}
    executor.connection.autocommit = False
    if commits_first:
        enqueue(user, "new", partition_key="k")
        assert claim(executor, lanes=mark, fence=5) == ["old"]
        user.commit()
        executor.connection.commit()
    else:
        assert claim(executor, lanes=mark, fence=5) == ["old"]
        enqueue(user, "new", partition_key="k")
        executor.connection.commit()
        user.commit()

    assert claim(executor, lanes=mark) == ["new"]
    executor.connection.commit()
    executor.connection.autocommit = True
    assert claim(executor) == []
    assert read(user, "select from pyengine.lanes") == []


def test_two_claims_from_marks_share_the_partitions(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, is_partitioned=True)
    for name in ("a0", "b0", "a1", "b1"):
        enqueue(one.connection, name, partition_key=name[0])
    mark = {(key, 0): seq_of(one.connection, f"{key}0") for key in "ab"}
    one.connection.autocommit = False

    assert claim(one, limit=1, lanes=mark) == ["a0"]
    assert claim(two, lanes=mark) == ["b0", "b1"]
    assert claim(two, lanes=mark) == ["busy"]
    one.connection.commit()
    assert claim(two, lanes=mark) == ["a1"]


@pytest.mark.parametrize("commits_first", [True, False])
def test_a_claim_that_saw_no_limits_is_counted_wherever_the_place_is(
    new_executor: NewExecutor, session_factory: NewSession, commits_first: bool
) -> None:
    """It does not take the queue's lock, so it can commit after limits were declared and the place was set."""
    late, executor, user = new_executor(), new_executor(), session_factory()
    for name in ("a", "b", "c"):
        enqueue(user, name)
    late.connection.autocommit = False
    assert claim(late, limit=1) == ["a"]
    put_queue(user, concurrency=2)
    if commits_first:
        late.connection.commit()
    count_from_here(user)
    late.connection.commit()

    assert claim(executor) == ["b"]
    assert claim(executor) == []


@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize("is_open", [True, False])
def test_an_end_that_is_not_committed_is_none_where_the_place_is_set(
    new_executor: NewExecutor, ends: str, is_open: bool
) -> None:
    owner, executor = new_executor(), new_executor()
    put_queue(executor.connection, concurrency=1)
    for name in ("a", "b"):
        enqueue(executor.connection, name)
    assert claim(owner, fence=5) == ["a"]
    owner.connection.autocommit = False
    owner.finish("a", 5)
    if is_open:
        count_from_here(executor.connection)
        assert claim(executor) == []
    getattr(owner.connection, ends)()
    count_from_here(executor.connection)

    assert claim(executor) == (["b"] if ends == "commit" else [])


def test_a_claim_whose_place_is_rolled_back_leaves_the_one_before(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, concurrency=2)
    for name in ("a", "b", "c"):
        enqueue(one.connection, name)
    assert claim(one, limit=1) == ["a"]
    one.connection.autocommit = False
    one.connection.execute("select pg_advisory_xact_lock(pyengine._advisory_key('queue', 'app/q'))")
    one.connection.execute("select pyengine._count_from_here('app', 'q')")
    assert claim(one, limit=1) == ["b"]
    assert claim(two) == ["busy"]
    one.connection.rollback()

    assert claim(two) == ["b"]
    assert claim(two) == []
