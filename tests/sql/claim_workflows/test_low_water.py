"""A claim that begins at a low-water mark, and what tells its caller that one is worth its while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plugins.executors import Connection, Executor, in_flight, read
from plugins.queueing import claim, claim_rows, enqueue, put_queue

DEAD = 5000


def seq(connection: Connection, workflow_id: str) -> int:
    row = in_flight(connection, workflow_id)
    assert row is not None
    number: int = row["seq"]
    return number


def walked(connection: Connection) -> int:
    """How many entries of the queues' index this session has looked at in its open transaction."""
    (found,) = read(
        connection,
        "select coalesce(pg_stat_get_xact_tuples_returned('pyengine.in_flight_claim_idx'::regclass), 0) as n",
    )
    count: int = found["n"]
    return count


def claim_and_count(executor: Executor, limit: int = 10, **arguments: Any) -> tuple[list[str], int]:
    connection = executor.connection
    with connection.transaction():
        before = walked(connection)
        return claim(executor, limit=limit, **arguments), walked(connection) - before


@pytest.fixture
def held(executor: Executor, session_factory: Callable[..., Connection]) -> Iterator[Executor]:
    """Five thousand rows of each of three priorities are gone, and a snapshot keeps what is left of them."""
    for name in ("in_flight", "workflows"):
        executor.connection.execute(f"alter table pyengine.{name} set (autovacuum_enabled = off)")
    executor.connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, priority, application, app_version)"
        f" select 'gone' || n, 'ENQUEUED', 'q', n % 3, 'app', 'v1' from generate_series(1, {3 * DEAD}) as n"
    )
    holder = session_factory(autocommit=False)
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select count(*) from pyengine.in_flight")
    executor.connection.execute("delete from pyengine.in_flight")
    yield executor
    holder.rollback()


def test_nothing_before_the_mark_is_looked_at(executor: Executor) -> None:
    for name in ("a", "b", "c", "d"):
        enqueue(executor.connection, name)
    mark = {0: seq(executor.connection, "c")}

    assert claim(executor, limit=1, mark=mark) == ["c"]
    assert claim(executor, mark=mark) == ["d"]
    assert claim(executor) == ["a", "b"]


def test_each_priority_begins_at_its_own_seq(executor: Executor) -> None:
    for name, priority in (("1a", 1), ("5a", 5), ("1b", 1), ("5b", 5), ("9a", 9)):
        enqueue(executor.connection, name, priority=priority)
    mark = {1: seq(executor.connection, "1b"), 5: seq(executor.connection, "5b")}

    assert claim(executor, mark=mark) == ["1b", "5b", "9a"]
    assert claim(executor) == ["1a", "5a"]


def test_a_priority_between_two_marks_that_nobody_told_of_keeps_its_place(executor: Executor) -> None:
    for name, priority in (("old", 3), ("1", 1), ("5", 5), ("0", 0), ("new", 3)):
        enqueue(executor.connection, name, priority=priority)
    mark = {1: seq(executor.connection, "1"), 5: seq(executor.connection, "5")}

    assert claim(executor, limit=3, mark=mark) == ["1", "old", "new"]
    assert claim(executor, mark=mark) == ["5"]
    assert claim(executor) == ["0"]


def test_own_version_and_no_version_are_merged_behind_the_mark(executor: Executor) -> None:
    for place, version in enumerate(["v1", None, "v1", None, "v0", "v1", None]):
        enqueue(executor.connection, f"{place}", app_version=version)
    mark = {0: seq(executor.connection, "2")}

    assert claim(executor, limit=3, unversioned=True, mark=mark) == ["2", "3", "5"]
    assert claim(executor, unversioned=False, mark=mark) == []
    assert claim(executor, unversioned=True, mark=mark) == ["6"]


def test_the_limits_of_a_queue_hold_behind_a_mark(executor: Executor) -> None:
    put_queue(executor.connection, concurrency=2)
    for name in ("a", "b", "c", "d"):
        enqueue(executor.connection, name)
    mark = {0: seq(executor.connection, "b")}

    assert claim(executor, mark=mark) == ["b", "c"]
    assert claim(executor, mark=mark) == []
    assert claim(executor) == []


def test_a_suspect_is_found_wherever_the_mark_lies(executor: Executor) -> None:
    for name in ("a", "b"):
        enqueue(executor.connection, name)
    executor.connection.execute("update pyengine.in_flight set is_suspect = true, crashes = 3 where workflow_id = 'a'")

    assert claim(executor, mark={0: seq(executor.connection, "b")}) == ["a"]


def test_a_partitioned_queue_has_no_use_for_a_mark(executor: Executor) -> None:
    put_queue(executor.connection, is_partitioned=True)
    enqueue(executor.connection, "a", partition_key="k")
    enqueue(executor.connection, "b", partition_key="k")

    assert claim(executor, mark={0: seq(executor.connection, "b")}) == ["a", "b"]


def test_what_can_be_no_mark_is_refused(executor: Executor) -> None:
    call = (
        "select pyengine.claim_workflows(p_executor_id => %s, p_nonce => %s, p_fence => 1, p_queue => 'q',"
        " p_limit => 1, p_unversioned => true, p_suspects => 'any', p_from_partitions => %s, p_from_priorities => %s,"
        " p_from_seqs => %s, p_from_served_at => null)"
    )
    marks: list[tuple[list[str | None] | None, list[int | None] | None, list[int | None] | None]] = [
        (None, [], []), (None, [1], None), (None, None, [1]), (None, [1, 2], [1]), (None, [2, 1], [1, 1]),
        (None, [1, 1], [1, 1]), (None, [1], [None]), (None, [None], [1]), (["a"], None, None), (["a"], [1, 2], [1, 1]),
        (["b", "a"], [1, 2], [1, 1]), (["a", "a"], [1, 1], [1, 1]), ([None], [1], [1]), ([], [], []),
    ]  # fmt: skip
    for mark in marks:
        with pytest.raises(psycopg.Error) as raised:
            executor.connection.execute(call, (executor.id, executor.nonce, *mark))
        assert raised.value.sqlstate == "WF101", mark


def test_a_claim_that_wades_through_nothing_tells_of_no_mark(executor: Executor) -> None:
    for place in range(300):
        enqueue(executor.connection, f"{place}")

    assert {each["low_water"] for each in claim_rows(executor, limit=100)} == {None}


def test_who_has_to_wade_is_told_and_from_then_on_need_not(held: Executor) -> None:
    for name, priority in (("0a", 0), ("1a", 1), ("1b", 1), ("2a", 2)):
        enqueue(held.connection, name, priority=priority)
    seqs = {name: seq(held.connection, name) for name in ("0a", "1a", "1b", "2a")}
    found = claim_rows(held)
    assert {each["workflow_id"]: each["low_water"] for each in found} == seqs

    mark = {each["priority"]: each["low_water"] for each in found}
    for name, priority in (("0c", 0), ("1c", 1), ("2c", 2), ("2d", 2)):
        enqueue(held.connection, name, priority=priority)
    short, few = claim_and_count(held, mark=mark, limit=3)
    full, many = claim_and_count(held)
    assert (short, full) == (["0c", "1c", "2c"], ["2d"])
    assert few < 100 < 3 * DEAD <= many


def test_a_limited_queue_is_not_waded_through_either(held: Executor) -> None:
    put_queue(held.connection, concurrency=100)
    enqueue(held.connection, "a", priority=2)
    (found,) = claim_rows(held)
    enqueue(held.connection, "b", priority=2)

    ids, count = claim_and_count(held, mark={2: found["low_water"]})
    assert ids == ["b"]
    assert count < 100


@pytest.mark.parametrize("version", ["v1", None])
def test_who_has_waded_and_has_no_room_is_told_where_work_begins(held: Executor, version: str | None) -> None:
    put_queue(held.connection, concurrency=1)
    for name in ("a", "b"):
        enqueue(held.connection, name, priority=2, app_version=version)
    assert claim(held, limit=1, fence=5) == ["a"]

    (found,) = claim_rows(held)
    assert (found["verdict"], found["workflow_id"]) == ("waded", None)
    assert (found["priority"], found["low_water"]) == (2, seq(held.connection, "b"))
    ids, few = claim_and_count(held, mark={2: found["low_water"]})
    assert (ids, few < 100) == ([], True)
    held.finish("a", 5)
    assert claim(held, mark={2: found["low_water"]}) == ["b"]


def test_the_first_of_both_versions_is_where_work_begins(held: Executor) -> None:
    put_queue(held.connection, concurrency=1)
    for name, version, priority in (("runs", "v1", 1), ("other", "v0", 1), ("none", None, 1), ("own", "v1", 1)):
        enqueue(held.connection, name, app_version=version, priority=priority)
    assert claim(held, limit=1) == ["runs"]

    first = {each: claim_rows(held, unversioned=each)[0]["low_water"] for each in (True, False)}
    assert first == {True: seq(held.connection, "none"), False: seq(held.connection, "own")}


def test_an_empty_queue_that_is_long_to_walk_through_says_so_without_a_place(held: Executor) -> None:
    (found,) = claim_rows(held)
    assert (found["verdict"], found["priority"], found["low_water"]) == ("waded", None, None)
    assert claim(held, queue="another") == []
