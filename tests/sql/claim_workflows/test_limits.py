from __future__ import annotations

from collections.abc import Callable

from plugins.clock import Clock
from plugins.executors import Connection, Executor, read
from plugins.queueing import claim, enqueue, put_queue

NewExecutor = Callable[..., Executor]


def fill(connection: Connection, count: int, **arguments: object) -> None:
    for place in range(count):
        enqueue(connection, f"{arguments.get('partition_key', 'w')}{place}", **arguments)


def test_concurrency_counts_all_executors(new_executor: NewExecutor, healthy: None) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, concurrency=3)
    fill(one.connection, 5)

    assert claim(one, limit=2, fence=5) == ["w0", "w1"]
    assert claim(two) == ["w2"]
    assert claim(two) == []
    one.finish("w0", 5)
    assert claim(two) == ["w3"]


def test_worker_concurrency_counts_the_own_rows(new_executor: NewExecutor, healthy: None) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, worker_concurrency=2)
    fill(one.connection, 5)

    assert [claim(one), claim(one), claim(two), claim(two)] == [["w0", "w1"], [], ["w2", "w3"], []]


def test_a_rate_is_an_exact_rolling_window(executor: Executor, clock: Clock) -> None:
    put_queue(executor.connection, rate_limit=2, rate_period="10 seconds")
    fill(executor.connection, 6)

    assert claim(executor, limit=1) == ["w0"]
    clock.advance(6)
    assert claim(executor) == ["w1"]
    clock.advance(5)
    assert claim(executor) == ["w2"]
    assert claim(executor) == []
    clock.advance(10)
    assert claim(executor) == ["w3", "w4"]
    assert len(read(executor.connection, "select * from pyengine.queue_starts")) == 2


def test_a_start_counts_even_when_it_has_finished(executor: Executor) -> None:
    put_queue(executor.connection, rate_limit=1, rate_period="1 hour")
    fill(executor.connection, 2)
    claim(executor, fence=5)
    executor.finish("w0", 5)

    assert claim(executor) == []


def test_a_raised_limit_counts_at_once(executor: Executor) -> None:
    put_queue(executor.connection, concurrency=1)
    fill(executor.connection, 3)

    assert claim(executor) == ["w0"]
    put_queue(executor.connection, concurrency=2)
    assert claim(executor) == ["w1"]
    put_queue(executor.connection)
    assert claim(executor) == ["w2"]
