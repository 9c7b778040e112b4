"""Daemon threads kept for reuse.

Not concurrent.futures.ThreadPoolExecutor: the interpreter joins its threads at exit, and a durable workflow must
never keep a process alive: what it was doing continues elsewhere.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_IDLE_SECONDS = 30.0


class DaemonThreads:
    """Runs calls on daemon threads: as many as are needed at a time, at most `limit` (None: no limit)."""

    def __init__(self, name: str, limit: int | None = None) -> None:
        self._name = name
        self._limit = limit
        self._ready = threading.Condition(threading.Lock())
        self._queue: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._idle = 0
        self._threads = 0

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._ready:
            self._queue.append((future, call))
            if len(self._queue) <= self._idle:
                self._ready.notify()
            elif self._limit is None or self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._ready:
            if not self._queue:
                self._idle += 1
                self._ready.wait_for(lambda: self._queue, timeout=_IDLE_SECONDS)
                self._idle -= 1
            if self._queue:
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _work(self) -> None:
        while (item := self._next()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # handed to whoever waits for the future, control signals included
                future.set_exception(error)
            else:
                future.set_result(result)
            # Nothing of a finished call may live on in an idle thread.
            del item, future, call
