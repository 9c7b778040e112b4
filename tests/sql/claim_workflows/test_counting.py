"""What runs is counted exactly, without a walk over all that ran, which stays while somebody holds a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plugins.executors import Connection, Executor, read
from plugins.queueing import claim, enqueue, put_queue

DEAD = 9000
NewExecutor = Callable[..., Executor]


def place(connection: Connection) -> tuple[int | None, list[int] | None]:
    (found,) = read(connection, "select counted_from, counted_also from pyengine.queues where queue = 'q'")
    return found["counted_from"], found["counted_also"]


def numbers(connection: Connection) -> dict[str, int]:
    found = read(connection, "select workflow_id, claim_seq from pyengine.in_flight where status = 'PENDING'")
    return {row["workflow_id"]: row["claim_seq"] for row in found}


def count_from_here(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(pyengine._advisory_key('queue', 'app/q'))")
        connection.execute("select pyengine._count_from_here('app', 'q')")


def fill(connection: Connection, *names: str, **arguments: Any) -> None:
    for name in names:
        enqueue(connection, name, **arguments)


def claim_and_count(executor: Executor, **arguments: Any) -> tuple[list[str], int]:
    indexes = ("in_flight_pending_idx", "in_flight_executor_idx")
    walked = [f"coalesce(pg_stat_get_xact_tuples_returned('pyengine.{name}'::regclass), 0)" for name in indexes]
    with executor.connection.transaction():
        before = read(executor.connection, f"select {' + '.join(walked)} as n")[0]["n"]
        ids = claim(executor, **arguments)
        return ids, read(executor.connection, f"select {' + '.join(walked)} as n")[0]["n"] - before


@pytest.fixture
def held(executor: Executor, session_factory: Callable[..., Connection]) -> Iterator[Callable[..., Executor]]:
    """`held(key)`: as many have run within limits, of a partition or of none; a snapshot keeps what is left."""
    holder = session_factory(autocommit=False)
    executor.connection.execute("alter table pyengine.in_flight set (autovacuum_enabled = off)")

    def ran(key: str | None = None) -> Executor:
        executor.connection.execute(
            "insert into pyengine.in_flight"
            " (workflow_id, status, queue, partition_key, application, app_version, executor_id, fence, claim_seq)"
            f" select 'gone' || n, 'PENDING', 'q', %s, 'app', 'v1', {executor.id}, n, nextval('pyengine.in_flight_seq')"
            f" from generate_series(1, {DEAD}) as n",
            (key,),
        )
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select count(*) from pyengine.in_flight")
        executor.connection.execute("delete from pyengine.in_flight where workflow_id like 'gone%'")
        return executor

    yield ran
    holder.rollback()


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "planned-on-empty"])
@pytest.mark.parametrize("limit", ["concurrency", "worker_concurrency", "partition_concurrency"])
def test_what_ran_is_walked_over_once_and_limits_stay_exact(
    executor: Executor, held: Callable[..., Executor], limit: str, is_warm: bool
) -> None:
    key = "k" if limit.startswith("partition") else None
    put_queue(executor.connection, **{limit: 3})
    if is_warm:
        fill(executor.connection, "before", partition_key=key)
        assert claim(executor, fence=6) == ["before"]
        count_from_here(executor.connection)
        executor.finish("before", 6)
    held(key)
    fill(executor.connection, "long", partition_key=key)
    assert claim(executor, fence=7) == ["long"]
    fill(executor.connection, "a", "b", "c", "d", partition_key=key)

    assert claim(executor, limit=1, fence=8) == ["a"]
    ids, few = claim_and_count(executor)
    assert ids == ["b"]
    assert few < 100
    assert claim(executor) == []
    executor.finish("a", 8)
    assert claim(executor, fence=9) == ["c"]
    assert claim(executor) == []
    executor.finish("long", 7)
    assert claim(executor) == ["d"]


def test_whatever_ran_when_the_place_was_set_is_counted_until_it_is_over(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, concurrency=4, worker_concurrency=2)
    fill(one.connection, "a", "b", "c", "d", "e")
    assert claim(one, limit=1, fence=5) == ["a"]
    count_from_here(one.connection)
    assert claim(one, limit=1, fence=6) == ["b"]
    count_from_here(one.connection)

    assert claim(one) == []
    assert claim(two) == ["c", "d"]
    count_from_here(one.connection)
    assert claim(two) == []
    two.connection.execute("update pyengine.queues set worker_concurrency = 9")
    assert claim(two) == []
    one.finish("a", 5)
    assert claim(two) == ["e"]


def test_what_was_claimed_while_there_were_no_limits_is_always_counted(executor: Executor) -> None:
    fill(executor.connection, "a", "b", "c")
    assert claim(executor, limit=1, fence=5) == ["a"]
    put_queue(executor.connection, concurrency=2)
    count_from_here(executor.connection)

    assert claim(executor) == ["b"]
    assert claim(executor) == []
    count_from_here(executor.connection)
    assert numbers(executor.connection)["a"] == 0
    assert 0 not in (place(executor.connection)[1] or [])
    executor.finish("a", 5)
    assert claim(executor) == ["c"]


def test_a_queue_without_limits_numbers_nothing(executor: Executor) -> None:
    put_queue(executor.connection)
    fill(executor.connection, "a")
    claim(executor)

    assert numbers(executor.connection) == {"a": 0}
    assert place(executor.connection) == (None, None)


def test_no_claim_takes_a_number_from_before_the_place_when_the_sequence_was_set_back(executor: Executor) -> None:
    put_queue(executor.connection, concurrency=2)
    fill(executor.connection, *map(str, range(50)))
    count_from_here(executor.connection)
    executor.connection.execute("select setval('pyengine.in_flight_seq', 1)")
    begin, _ = place(executor.connection)

    assert claim(executor, limit=1) == ["0"]
    assert begin is not None
    assert numbers(executor.connection)["0"] >= begin
    assert claim(executor) == ["1"]
    assert claim(executor) == []


def test_the_place_is_that_of_the_first_run_that_is_not_listed(executor: Executor) -> None:
    put_queue(executor.connection, concurrency=100)
    fill(executor.connection, *map(str, range(80)))
    for _ in range(70):
        claim(executor, limit=1)
    count_from_here(executor.connection)
    begin, also = place(executor.connection)

    ordered = sorted(numbers(executor.connection).values())
    assert (begin, also) == (ordered[64], ordered[:64])
    put_queue(executor.connection, concurrency=72)
    assert len(claim(executor)) == 2
    count_from_here(executor.connection)
    assert place(executor.connection) == (begin, also)
    assert claim(executor) == []


def test_a_row_that_comes_back_to_the_queue_is_numbered_anew(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, concurrency=1)
    fill(one.connection, "a", "b")
    assert claim(one) == ["a"]
    count_from_here(two.connection)
    first = numbers(two.connection)["a"]
    two.mark_dead(one)
    two.take_over(one)

    assert claim(two) == ["a"]
    assert numbers(two.connection)["a"] > first
    assert claim(two) == []


def test_many_that_run_are_no_reason_to_set_a_place(executor: Executor) -> None:
    put_queue(executor.connection, concurrency=20_000, worker_concurrency=20_000)
    executor.connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, app_version, executor_id, fence)"
        f" select 'runs' || n, 'PENDING', 'q', 'app', 'v1', {executor.id}, n from generate_series(1, {DEAD}) as n"
    )
    # Now the index alone can count them.
    executor.connection.execute("vacuum pyengine.in_flight")
    fill(executor.connection, "a")

    assert claim(executor) == ["a"]
    assert place(executor.connection) == (None, None)
