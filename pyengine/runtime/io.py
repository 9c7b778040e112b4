"""How one core serves sync and async code.

The core is written as coroutines that touch the world only through an `Io`. With `BLOCKING` every one of its
operations blocks the calling thread and never suspends, so `run_blocking` can drive a core coroutine to its end
in one go; with `SUSPENDING` they suspend on the running event loop. There is no second copy of any logic.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import CoroutineType
from typing import Any, Protocol, TypeVar

from ..db.batches import Arguments, Batch
from .committer import Committer, Request
from .context import current_run
from .threads import DaemonThreads

T = TypeVar("T")


class Io(Protocol):
    async def database(self, call: Callable[[], T]) -> T:
        """Run a blocking call to the database."""

    async def commit(self, committer: Committer, batch: Batch[T], arguments: Arguments) -> T:
        """Write a row together with what others write at the same time."""

    def commit_later(
        self, committer: Committer, batch: Batch[T], arguments: Arguments, then: Callable[[Request[T]], None]
    ) -> None:
        """As `commit`, for a row that nobody waits for; `then` is called when it is answered."""

    async def wait(self, future: Future[T], timeout: float | None) -> T:
        """Wait for a future; raises TimeoutError after `timeout` seconds."""

    async def user(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call user code."""


class _Blocking:
    async def database(self, call: Callable[[], T]) -> T:
        return call()

    async def commit(self, committer: Committer, batch: Batch[T], arguments: Arguments) -> T:
        return committer.commit(batch, arguments)

    def commit_later(
        self, committer: Committer, batch: Batch[T], arguments: Arguments, then: Callable[[Request[T]], None]
    ) -> None:
        committer.commit_later(batch, arguments, then, may_lead=True)

    async def wait(self, future: Future[T], timeout: float | None) -> T:
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done():
                return future.result()
            raise TimeoutError from None

    async def user(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **kwargs)


# Blocking calls made for event loops. Few: a call takes a fraction of a millisecond, and the pool of
# connections is the limit anyway.
def _new_database_threads() -> DaemonThreads:
    return DaemonThreads("pyengine-database", limit=8)


_database_threads = _new_database_threads()


def _forget_threads_in_child() -> None:
    """A forked child has none of its parent's threads."""
    global _database_threads
    _database_threads = _new_database_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads_in_child)


class _Suspending:
    async def database(self, call: Callable[[], T]) -> T:
        return await asyncio.wrap_future(_database_threads.submit(call))

    def commit(self, committer: Committer, batch: Batch[T], arguments: Arguments) -> Coroutine[Any, Any, T]:
        return committer.commit_async(batch, arguments)

    def commit_later(
        self, committer: Committer, batch: Batch[T], arguments: Arguments, then: Callable[[Request[T]], None]
    ) -> None:
        committer.commit_later(batch, arguments, then, may_lead=False)

    async def wait(self, future: Future[T], timeout: float | None) -> T:
        # Not asyncio.wrap_future and asyncio.wait: thousands of sleepers fall asleep and wake at a time, and those two
        # are most of what it takes.
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        future.add_done_callback(partial(_wake, loop, woken))
        timer = None if timeout is None else loop.call_later(timeout, _settle, woken)
        try:
            await woken
        finally:
            if timer is not None:
                timer.cancel()
            is_late = future.cancel()
        if is_late:
            raise TimeoutError
        return future.result()

    async def user(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        return await result if type(result) is CoroutineType or inspect.isawaitable(result) else result


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None], future: Future[Any]) -> None:
    """From any thread."""
    if not woken.done():
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle, woken)


def _settle(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


BLOCKING: Io = _Blocking()
SUSPENDING: Io = _Suspending()


def run_blocking(core: Coroutine[Any, Any, T]) -> T:
    """Drive a core coroutine that was given BLOCKING: it never suspends."""
    try:
        core.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    core.close()
    raise RuntimeError("a blocking call suspended: async user code was called through the sync API")


def refuse_in_event_loop(name: str, instead: str) -> None:
    """A sync call that waits would stop every coroutine of the loop it is made on, perhaps the very one it waits
    for. A sync workflow that was called there stops the loop anyway.
    """
    run = current_run()
    if run is not None and not run.spec.is_async:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"{name}() was called while an event loop is running. Use await {instead} instead")
