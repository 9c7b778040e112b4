"""The event loop that runs async workflows nobody awaits: the one that was running at launch, or one on a thread
of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ..logs import logger

if TYPE_CHECKING:
    from .run import Run


class WorkflowLoop:
    """Begins runs in the order they come. Those that come together, as a claim's do, wake the loop once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: asyncio.AbstractEventLoop | None = None
        self._adopted: asyncio.AbstractEventLoop | None = None
        self._coming: deque[tuple[Run, Coroutine[Any, Any, Any], Context]] = deque()
        self._called: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._adopted = asyncio.get_running_loop()

    def begin(self, run: Run, core: Coroutine[Any, Any, Any], context: Context) -> None:
        """From any thread. The run keeps its task: a loop alone would let one that waits be collected."""
        loop = self._loop()
        with self._lock:
            self._coming.append((run, core, context))
            # One that was called and has ended since left its runs to the next.
            is_called, self._called = self._called is loop, loop
        if is_called:
            return
        try:
            loop.call_soon_threadsafe(self._begin_all, loop)
        except RuntimeError:  # it was closed a moment ago
            with self._lock:
                self._called = None
                self._coming.remove((run, core, context))
            raise

    def _begin_all(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            coming, self._coming, self._called = self._coming, deque(), None
        for run, core, context in coming:
            run.task = context.run(loop.create_task, core)

    def _loop(self) -> asyncio.AbstractEventLoop:
        if self._adopted is not None and self._adopted.is_running():
            return self._adopted
        with self._lock:
            if self._own is None:
                self._own = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._own,), name="pyengine-workflows", daemon=True).start()
            return self._own

    def stop(self) -> None:
        """Cancel what still runs on the own loop and end it. An adopted loop belongs to the application."""
        with self._lock:
            loop, self._own = self._own, None
        if loop is not None:
            loop.call_soon_threadsafe(_wind_up, loop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except BaseException as error:  # asyncio lets a task's SystemExit out: the others must not stop with it
            logger.warning("A task of an async workflow raised %s", type(error).__name__)
        else:
            loop.close()
            return


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()

    async def end() -> None:
        await asyncio.gather(*tasks, return_exceptions=True)
        loop.stop()

    loop.create_task(end())
