"""Waiting on an event loop for what another thread settles, within a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from pyengine.runtime.io import SUSPENDING
from pyengine.runtime.run import settle

LONG = 3600.0


def waited(future: Future[Any], timeout: float | None = LONG, meanwhile: Callable[[], None] | None = None) -> Any:
    async def wait() -> Any:
        task = asyncio.ensure_future(SUSPENDING.wait(future, timeout))
        await asyncio.sleep(0)
        if meanwhile is not None:
            meanwhile()
        return await task

    return asyncio.run(wait())


def in_thread(act: Callable[[], None]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


@pytest.mark.parametrize("timeout", [None, LONG])
def test_a_result_from_another_thread_is_returned(timeout: float | None) -> None:
    future: Future[int] = Future()

    assert waited(future, timeout, lambda: in_thread(lambda: settle(future, result=7))) == 7


def test_an_error_from_another_thread_is_raised_as_itself() -> None:
    future: Future[int] = Future()
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught:
        waited(future, meanwhile=lambda: in_thread(lambda: settle(future, error=error)))

    assert caught.value is error


def test_what_was_settled_before_is_returned_at_once() -> None:
    future: Future[int] = Future()
    future.set_result(7)

    assert waited(future, 0) == 7


def test_time_that_is_over_is_an_error_and_nobody_can_settle_it_any_more() -> None:
    future: Future[int] = Future()
    with pytest.raises(TimeoutError):
        waited(future, 0.001)

    assert future.cancelled()
    settle(future, result=7)


def test_what_comes_in_the_moment_the_time_is_over_counts() -> None:
    future: Future[int] = Future()

    async def wait() -> int:
        task = asyncio.ensure_future(SUSPENDING.wait(future, 0.001))
        await asyncio.sleep(0)
        # Both are due in the next round of the loop: the end of the time, and, before the waiter sees it, the result.
        asyncio.get_running_loop().call_later(0.001, future.set_result, 7)
        threading.Event().wait(0.01)
        return await task

    assert asyncio.run(wait()) == 7


def test_a_waiter_that_is_cancelled_lets_go_of_the_future() -> None:
    future: Future[int] = Future()

    async def cancelled() -> None:
        task = asyncio.ensure_future(SUSPENDING.wait(future, LONG))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert future.cancelled()


def test_a_loop_that_is_gone_is_nobody_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    future: Future[int] = Future()
    loop = asyncio.new_event_loop()
    wait = SUSPENDING.wait(future, LONG)

    async def begin() -> None:
        wait.send(None)

    loop.run_until_complete(begin())
    loop.close()
    settle(future, result=7)
    assert caplog.records == []
    with pytest.raises(RuntimeError):
        wait.throw(RuntimeError("the end"))
