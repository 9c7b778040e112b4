"""A claim of a partitioned queue that begins at a low-water mark, and what tells its caller that it is worth one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from plugins.clock import Clock
from plugins.executors import Connection, Executor, in_flight, read
from plugins.queueing import claim, claim_rows, enqueue, put_queue

KEYS = ("a", "b", "c")
DEAD = 5000
INDEXES = ("in_flight_claim_idx", "in_flight_lane_idx", "lanes_served_idx", "lanes_pkey")


def seq(connection: Connection, workflow_id: str) -> int:
    row = in_flight(connection, workflow_id)
    assert row is not None
    number: int = row["seq"]
    return number


def lanes(connection: Connection) -> dict[str, datetime]:
    found = read(connection, "select partition_key, served_at from pyengine.lanes")
    return {lane["partition_key"]: lane["served_at"] for lane in found}


def walked(connection: Connection) -> dict[str, int]:
    """How many entries of each index this session has looked at in its open transaction."""
    columns = ", ".join(f"pg_stat_get_xact_tuples_returned('pyengine.{name}'::regclass) as {name}" for name in INDEXES)
    (found,) = read(connection, f"select {columns}")
    return {name: count or 0 for name, count in found.items()}


def claim_and_count(executor: Executor, **arguments: Any) -> tuple[list[str], int]:
    """What was claimed, and of the index that was looked at most how many entries."""
    with executor.connection.transaction():
        before = walked(executor.connection)
        ids = claim(executor, **arguments)
        after = walked(executor.connection)
    return ids, max(after[name] - before[name] for name in INDEXES)


@pytest.fixture
def parted(executor: Executor) -> Executor:
    put_queue(executor.connection, is_partitioned=True)
    return executor


@pytest.fixture
def held(parted: Executor, session_factory: Callable[..., Connection]) -> Iterator[Executor]:
    """Five thousand rows of each of three partitions are gone, and as many visits; a snapshot keeps what is left."""
    connection = parted.connection
    for name in ("in_flight", "workflows", "lanes"):
        connection.execute(f"alter table pyengine.{name} set (autovacuum_enabled = off)")
    for key in KEYS:
        enqueue(connection, f"old {key}", partition_key=key)
    assert len(claim(parted)) == len(KEYS)
    connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, partition_key, priority, application, app_version)"
        " select 'gone' || n, 'ENQUEUED', 'q', (array['a', 'b', 'c'])[1 + n % 3], n % 2, 'app', 'v1'"
        f" from generate_series(1, {3 * DEAD}) as n"
    )
    connection.execute(
        "insert into pyengine.lanes (queue, application, partition_key, served_at)"
        " select 'q', 'app', (array['a', 'b', 'c'])[1 + n % 3] || n, pyengine._now() - interval '1 hour'"
        f" from generate_series(1, {3 * DEAD}) as n"
    )
    holder = session_factory(autocommit=False)
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select count(*) from pyengine.in_flight")
    connection.execute("delete from pyengine.in_flight where status = 'ENQUEUED'")
    connection.execute("delete from pyengine.lanes")
    yield parted
    holder.rollback()


def test_nothing_before_the_mark_of_a_partition_is_looked_at(parted: Executor) -> None:
    for name in ("a0", "b0", "a1", "b1"):
        enqueue(parted.connection, name, partition_key=name[0])
    mark = {("a", 0): seq(parted.connection, "a1")}

    assert claim(parted, lanes=mark) == ["b0", "a1", "b1"]
    assert claim(parted, lanes=mark) == []
    assert claim(parted) == ["a0"]


def test_each_priority_of_a_partition_begins_at_its_own_seq(parted: Executor) -> None:
    for name, priority in (("0", 0), ("1a", 1), ("5a", 5), ("old", 3), ("1b", 1), ("5b", 5), ("9", 9)):
        enqueue(parted.connection, name, priority=priority, partition_key="k")
    mark = {("k", 1): seq(parted.connection, "1b"), ("k", 5): seq(parted.connection, "5b"), ("z", 0): 1}

    assert claim(parted, limit=2, lanes=mark) == ["1b", "old"]
    assert claim(parted, lanes=mark) == ["5b", "9"]
    assert claim(parted) == ["0", "1a", "5a"]


def test_own_version_and_no_version_are_merged_behind_the_mark_of_a_partition(parted: Executor) -> None:
    for place, version in enumerate(["v1", None, "v1", None, "v0", "v1", None, ""]):
        enqueue(parted.connection, f"{place}", app_version=version, partition_key="k")
    mark = {("k", 0): seq(parted.connection, "2")}

    assert claim(parted, limit=3, unversioned=True, lanes=mark) == ["2", "3", "5"]
    assert claim(parted, unversioned=False, lanes=mark) == []
    assert claim(parted, unversioned=True, lanes=mark) == ["6"]
    assert claim(parted, unversioned=True) == ["0", "1"]


def test_partitions_that_were_served_before_the_mark_are_not_looked_for(parted: Executor, clock: Clock) -> None:
    enqueue(parted.connection, "early", partition_key="a")
    clock.advance(10)
    enqueue(parted.connection, "late", partition_key="b")
    turn = lanes(parted.connection)["b"]

    assert claim(parted, lanes={}, served_at=turn) == ["late"]
    assert claim(parted, lanes={}, served_at=turn) == []
    assert claim(parted) == ["early"]


def test_a_partition_that_was_emptied_from_its_mark_stays_for_a_look_from_its_head(parted: Executor) -> None:
    for name in ("a0", "b0"):
        enqueue(parted.connection, name, partition_key=name[0])
    mark = {("a", 0): seq(parted.connection, "a0")}

    assert claim(parted, lanes=mark) == ["a0", "b0"]
    assert set(lanes(parted.connection)) == {"a"}
    enqueue(parted.connection, "a1", partition_key="a")
    assert claim(parted, lanes=mark) == ["a1"]
    assert claim(parted) == []
    assert lanes(parted.connection) == {}


def test_a_suspect_is_found_wherever_the_mark_of_its_partition_lies(parted: Executor) -> None:
    for name in ("a", "b"):
        enqueue(parted.connection, name, partition_key="k")
    parted.connection.execute("update pyengine.in_flight set is_suspect = true, crashes = 3 where workflow_id = 'a'")
    mark = {("k", 0): seq(parted.connection, "b") + 1}

    assert claim(parted, lanes=mark, suspects="none") == []
    assert claim(parted, lanes=mark) == ["a"]


def test_the_limits_of_partitions_hold_behind_a_mark(parted: Executor) -> None:
    put_queue(parted.connection, partition_concurrency=2)
    for place in range(4):
        enqueue(parted.connection, f"{place}", partition_key="k")
    mark = {("k", 0): seq(parted.connection, "1")}

    assert claim(parted, lanes=mark) == ["1", "2"]
    assert claim(parted, lanes=mark) == []
    assert claim(parted) == []


def test_a_queue_that_has_no_partitions_any_more_has_no_use_for_their_marks(executor: Executor) -> None:
    enqueue(executor.connection, "w")

    assert claim(executor, lanes={("a", 0): seq(executor.connection, "w") + 1}) == ["w"]


def test_who_has_to_wade_through_partitions_is_told_and_from_then_on_need_not(held: Executor) -> None:
    for name in ("a0", "b0", "c0"):
        enqueue(held.connection, name, partition_key=name[0])
    seqs = {name: seq(held.connection, name) for name in ("a0", "b0", "c0")}
    found = claim_rows(held)
    assert {each["workflow_id"]: each["low_water"] for each in found} == seqs
    served_at = found[0]["lanes_served_at"]
    mark = {(each["partition_key"], each["priority"]): each["low_water"] for each in found}
    mark |= {(key, 1): max(seqs.values()) for key in KEYS}

    for name in ("a1", "b1", "c1", "a2"):
        enqueue(held.connection, name, partition_key=name[0])
    short, few = claim_and_count(held, limit=3, lanes=mark, served_at=served_at)
    full, many = claim_and_count(held)
    assert (short, full) == (["a1", "b1", "c1"], ["a2"])
    assert few < 100 < DEAD <= many


def test_only_the_partitions_without_a_mark_are_looked_through(held: Executor) -> None:
    for name in ("a0", "b0", "c0"):
        enqueue(held.connection, name, partition_key=name[0])
    served_at = min(lanes(held.connection).values())
    mark = {(key, priority): seq(held.connection, "a0") for key in ("a", "b") for priority in (0, 1)}

    ids, count = claim_and_count(held, lanes=mark, served_at=served_at)
    assert ids == ["a0", "b0", "c0"]
    # To choose it, to lock its rows, and to find it empty, twice.
    assert DEAD <= count < 4 * DEAD + 100


def test_what_is_left_of_visits_alone_is_worth_a_mark(held: Executor) -> None:
    enqueue(held.connection, "new", partition_key="new")
    (found,) = claim_rows(held)

    assert found["low_water"] is not None
    assert found["lanes_served_at"] is not None


def test_a_claim_of_partitions_that_wades_through_nothing_tells_of_no_mark(parted: Executor) -> None:
    for place in range(300):
        enqueue(parted.connection, f"{place}", partition_key=f"{place}")

    found = claim_rows(parted, limit=100)
    assert {(each["low_water"], each["lanes_served_at"]) for each in found} == {(None, None)}


def test_a_partition_that_is_set_aside_does_not_put_the_mark_into_the_future(parted: Executor, clock: Clock) -> None:
    put_queue(parted.connection, partition_rate_limit=1, partition_rate_period="1 hour")
    for name in ("a0", "a1"):
        enqueue(parted.connection, name, partition_key="a")
    assert claim(parted) == ["a0"]
    assert claim(parted) == []
    (aside,) = lanes(parted.connection).values()
    (turn,) = read(
        parted.connection,
        "select pyengine._first_turn(%s, 'q', '-infinity') as turn, pyengine._now() as now",
        parted.id,
    )

    assert turn["turn"] < aside
    assert turn["turn"] <= turn["now"]


def test_what_a_look_from_a_mark_passes_over_moves_back_unless_it_has_a_mark_itself(
    parted: Executor, clock: Clock
) -> None:
    """Else the first one that cannot be served would keep the place among partitions where it is."""
    for name in ("a", "b"):
        enqueue(parted.connection, name, partition_key=name, app_version="v0")
    before = lanes(parted.connection)
    clock.advance(10)
    turn = min(before.values())

    assert claim(parted, lanes={}) == []
    assert lanes(parted.connection) == before
    assert claim(parted, lanes={("a", 0): 1}, served_at=turn) == []
    after = lanes(parted.connection)
    assert after["a"] == before["a"]
    assert after["b"] > before["b"]
