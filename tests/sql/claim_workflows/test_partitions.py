from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plugins.clock import Clock
from plugins.executors import Connection, Executor, put_in_flight, read
from plugins.queueing import cancel, claim, enqueue, put_queue

NewExecutor = Callable[..., Executor]


def fill(connection: Connection, keys: str, count: int, **arguments: Any) -> None:
    for key in keys:
        for place in range(count):
            enqueue(connection, f"{key}{place}", partition_key=key, **arguments)


def lanes(connection: Connection) -> set[str]:
    return {lane["partition_key"] for lane in read(connection, "select partition_key from pyengine.lanes")}


def test_partitions_take_turns(executor: Executor, healthy: None) -> None:
    put_queue(executor.connection, is_partitioned=True)
    fill(executor.connection, "abc", 2)

    assert claim(executor, limit=2) == ["a0", "b0"]
    assert claim(executor, limit=2) == ["a1", "c0"]
    assert claim(executor, limit=9) == ["b1", "c1"]
    assert lanes(executor.connection) == set()


def test_what_short_partitions_leave_goes_to_the_others(executor: Executor) -> None:
    put_queue(executor.connection, is_partitioned=True)
    fill(executor.connection, "a", 1)
    fill(executor.connection, "b", 9)

    assert len(claim(executor, limit=6)) == 6


def test_the_order_within_a_partition_ignores_versions(executor: Executor) -> None:
    put_queue(executor.connection, partition_concurrency=1)
    enqueue(executor.connection, "old", partition_key="a", app_version=None)
    enqueue(executor.connection, "new", partition_key="a")

    assert claim(executor) == ["old"]


def test_concurrency_per_partition(new_executor: NewExecutor, healthy: None) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, partition_concurrency=1)
    fill(one.connection, "ab", 2)

    assert claim(one, fence=5) == ["a0", "b0"]
    assert claim(two) == []
    one.finish("a0", 5)
    assert claim(two) == ["a1"]
    assert lanes(one.connection) == {"b"}


def test_concurrency_per_partition_and_executor(new_executor: NewExecutor, healthy: None) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, partition_concurrency=2, partition_worker_concurrency=1)
    fill(one.connection, "a", 3)

    assert [claim(one), claim(one), claim(two), claim(two)] == [["a0"], [], ["a1"], []]


def test_rate_per_partition(executor: Executor, clock: Clock) -> None:
    put_queue(executor.connection, partition_rate_limit=1, partition_rate_period="10 seconds")
    fill(executor.connection, "ab", 2)

    assert claim(executor) == ["a0", "b0"]
    assert claim(executor) == []
    clock.advance(11)
    assert claim(executor) == ["a1", "b1"]


def test_the_limit_of_the_queue_holds_over_its_partitions(executor: Executor, healthy: None) -> None:
    put_queue(executor.connection, concurrency=3, partition_concurrency=2)
    fill(executor.connection, "ab", 3)

    assert len(claim(executor)) == 3
    assert claim(executor) == []


def test_lanes_emptied_by_others_go_away(executor: Executor, healthy: None) -> None:
    put_queue(executor.connection, is_partitioned=True)
    fill(executor.connection, "ab", 1)
    cancel(executor.connection, "a0")

    assert claim(executor) == ["b0"]
    assert lanes(executor.connection) == set()


def test_thousands_of_lanes_of_another_version_starve_nobody(executor: Executor, clock: Clock) -> None:
    connection = executor.connection
    put_queue(connection, is_partitioned=True)
    connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, app_version, partition_key)"
        " select 'old' || n, 'ENQUEUED', 'q', 'app', 'v0', 'old' || n from generate_series(1, 2500) as n"
    )
    connection.execute(
        "insert into pyengine.lanes (queue, application, partition_key, served_at)"
        " select 'q', 'app', 'old' || n, pyengine._now() + n * interval '1 us' from generate_series(1, 2500) as n"
    )
    clock.advance(5)
    enqueue(connection, "mine", partition_key="mine")
    found = [claim(executor) for _ in range(4)]

    assert found == [["busy"], ["busy"], ["mine"], []]


def test_what_brings_executors_down_is_claimed_alone(executor: Executor) -> None:
    put_queue(executor.connection, is_partitioned=True)
    fill(executor.connection, "ab", 1)
    for key in "ab":
        put_in_flight(executor.connection, f"bad {key}", app_version="v1", partition_key=key, crashes=3)

    assert [claim(executor) for _ in range(4)] == [["a0", "b0"], ["bad a"], ["bad b"], []]
