"""One test for sync and async programs: written as coroutines, which the sync flavour drives without an event loop.

Workflow and step functions are written `async def` and call others through the flavour. The sync flavour registers a
plain function around each, so that what the engine runs is a sync program; `run` drives the test's own part likewise.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pyengine import DBOS

Function = Callable[..., Any]


class Flavour:
    """How a program is written. Decorators take a coroutine function; the other methods are awaited."""

    is_async = True

    def workflow(self, **options: Any) -> Callable[[Function], Function]:
        return lambda function: DBOS.workflow(**options)(self._made(function))

    def step(self, **options: Any) -> Callable[[Function], Function]:
        return lambda function: DBOS.step(**options)(self._made(function))

    def _made(self, function: Function) -> Function:
        return function

    async def call(self, function: Function, *args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    async def start(self, function: Function, *args: Any, **kwargs: Any) -> Any:
        return await DBOS.start_workflow_async(function, *args, **kwargs)

    async def result(self, handle: Any) -> Any:
        return await handle.get_result()

    async def status(self, handle: Any) -> Any:
        return await handle.get_status()

    async def ask(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """A call of DBOS that has an async twin, by its sync name."""
        return await getattr(DBOS, name + "_async")(*args, **kwargs)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, condition: Callable[[], Any], what: str = "", timeout_seconds: float = 30) -> None:
        """Wait for something that another thread or the database does."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in time: {what or condition}"
            await self.pause(0.01)

    async def until_set(self, event: threading.Event, timeout_seconds: float = 30) -> None:
        await self.until(event.is_set, "event", timeout_seconds)

    def run(self, core: Coroutine[Any, Any, Any]) -> Any:
        """What the program's main function does."""
        return asyncio.run(core)


class SyncFlavour(Flavour):
    is_async = False

    def _made(self, function: Function) -> Function:
        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            return self.run(function(*args, **kwargs))

        return plain

    async def call(self, function: Function, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    async def start(self, function: Function, *args: Any, **kwargs: Any) -> Any:
        return DBOS.start_workflow(function, *args, **kwargs)

    async def result(self, handle: Any) -> Any:
        return handle.get_result()

    async def status(self, handle: Any) -> Any:
        return handle.get_status()

    async def ask(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(DBOS, name)(*args, **kwargs)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def run(self, core: Coroutine[Any, Any, Any]) -> Any:
        try:
            core.send(None)
        except StopIteration as end:
            return end.value
        core.close()
        raise AssertionError("a sync program waited for an event loop")


@pytest.fixture(params=[SyncFlavour, Flavour], ids=["sync", "async"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    made: Flavour = request.param()
    return made
