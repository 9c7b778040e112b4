"""Threads for sync workflows, what a process takes on, and the few connections it uses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import psycopg
import pytest
from psycopg.pq import ConnStatus, TransactionStatus

from pyengine.db.connection import Connection
from pyengine.db.pool import Pool, PoolClosed
from pyengine.runtime.threads import DaemonThreads


def soon(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_no_more_calls_run_than_the_limit_and_all_are_run() -> None:
    threads, inside, most, lock = DaemonThreads("test", limit=3), 0, 0, threading.Lock()

    def call() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1

    for future in [threads.submit(call) for _ in range(30)]:
        future.result(10)
    assert most == 3
    threads.close()


def test_a_thread_that_waits_makes_room_for_what_it_waits_for() -> None:
    threads = DaemonThreads("test", limit=1)

    def nested(depth: int) -> int:
        if depth == 0:
            return 0
        inner = threads.submit(lambda: nested(depth - 1))
        with threads.lent():
            return 1 + inner.result(10)

    assert threads.submit(lambda: nested(20)).result(10) == 20
    threads.close()


def test_a_wait_on_another_thread_lends_nothing() -> None:
    threads, go = DaemonThreads("test", limit=1), threading.Event()
    first = threads.submit(lambda: go.wait(10))
    with threads.lent():
        second = threads.submit(lambda: "second")
        time.sleep(0.05)
        assert not second.done()
        go.set()
        assert (first.result(10), second.result(10)) == (True, "second")
    threads.close()


def test_idle_threads_end_when_closed_and_an_exception_is_handed_on() -> None:
    threads = DaemonThreads("closing")
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    threads.close()
    soon(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("closing")])
    assert threads.submit(lambda: "still run").result(10) == "still run"


class _Link:
    """A connection as libpq sees it."""

    status = ConnStatus.OK
    transaction_status = TransactionStatus.IDLE


class _Fake:
    def __init__(self) -> None:
        self.closed = False
        self.pgconn = _Link()

    def close(self) -> None:
        self.closed = True
        self.pgconn.status = ConnStatus.BAD

    def cut(self) -> None:
        self.was_cut = True


def pool(size: int, connect: Callable[[], Any] = _Fake) -> Pool:
    return Pool(cast(Callable[[], Connection], connect), size)


def test_the_connection_that_came_back_last_is_lent_first() -> None:
    made = pool(3)
    one, two = made.take(), made.take()
    made.give(one)
    made.give(two)
    assert made.take() is two
    assert made.take() is one


def test_who_finds_all_connections_lent_waits_for_one() -> None:
    made, got = pool(1), []
    one = made.take()
    waiter = threading.Thread(target=lambda: got.append(made.take()))
    waiter.start()
    time.sleep(0.05)
    assert got == []
    made.give(one)
    waiter.join(10)
    assert got == [one]


def test_a_broken_connection_makes_room_for_a_new_one() -> None:
    made = pool(1)
    one = made.take()
    one.close()
    made.give(one)
    two = made.take()
    assert two is not one
    cast(Any, two).pgconn.transaction_status = TransactionStatus.INERROR
    made.give(two)
    assert two.closed
    three = made.take()
    made.give(three)
    made.forget_idle()
    assert three.closed
    assert made.take() is not three


def test_a_failure_to_connect_is_the_callers_and_takes_no_place() -> None:
    def refuse() -> Any:
        raise psycopg.OperationalError("refused")

    made = pool(1, refuse)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError):
            made.take()


def test_a_closed_pool_lends_nothing_and_wakes_who_waits() -> None:
    made, ended = pool(1), threading.Event()
    one = made.take()

    def wait() -> None:
        with pytest.raises(PoolClosed):
            made.take()
        ended.set()

    threading.Thread(target=wait).start()
    time.sleep(0.05)
    made.close()
    assert ended.wait(10)
    made.give(one)
    assert one.closed


def test_a_call_that_nobody_waits_for_takes_no_thread_with_it(caplog: pytest.LogCaptureFixture) -> None:
    threads = DaemonThreads("test", limit=1)
    done = threading.Event()

    def leave() -> None:
        raise SystemExit(1)

    threads.start(leave)
    threads.start(done.set)
    assert done.wait(10)
    assert "SystemExit" in caplog.text
    threads.close()
