"""Daemon threads kept for reuse.

Not concurrent.futures.ThreadPoolExecutor: the interpreter joins its threads at exit, and a durable workflow must
never keep a process alive: what it was doing continues elsewhere.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from ..logs import logger

T = TypeVar("T")

_IDLE_SECONDS = 30.0


class DaemonThreads:
    """Runs calls on daemon threads: as many as are needed at a time, at most `limit` (None: no limit).

    One that waits for another call (`lent`) does not count: else calls that wait for calls would wait for ever.
    """

    def __init__(self, name: str, limit: int | None = None) -> None:
        self._name = name
        self._limit = limit
        self._mine = threading.local()
        self._ready = threading.Condition(threading.Lock())
        self._queue: deque[Callable[[], object]] = deque()
        self._idle = 0
        self._threads = 0
        self._lent = 0
        self._is_closed = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self.start(partial(_complete, future, call))
        return future

    def start(self, call: Callable[[], object]) -> None:
        """For a call that nobody waits for."""
        with self._ready:
            self._queue.append(call)
            try:
                self._provide()
            except BaseException:
                self._queue.remove(call)
                raise

    def close(self) -> None:
        """Keep no idle threads any more. What is running, or queued, ends by itself."""
        with self._ready:
            self._is_closed = True
            self._ready.notify_all()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Around a wait: on a thread of ours, another may work meanwhile."""
        if not getattr(self._mine, "is_worker", False):
            yield
            return
        with self._ready:
            self._lent += 1
            if self._queue:
                self._provide()
        try:
            yield
        finally:
            with self._ready:
                self._lent -= 1

    def _provide(self) -> None:
        """See that there is a thread for what is queued."""
        if len(self._queue) <= self._idle:
            self._ready.notify()
        elif self._limit is None or self._threads - self._lent < self._limit:
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads + 1}", daemon=True).start()
            self._threads += 1

    def _is_one_too_many(self) -> bool:
        return self._limit is not None and self._threads - self._lent > self._limit

    def _next(self) -> Callable[[], object] | None:
        with self._ready:
            if not (self._queue or self._is_closed or self._is_one_too_many()):
                self._idle += 1
                self._ready.wait_for(lambda: self._queue or self._is_closed, timeout=_IDLE_SECONDS)
                self._idle -= 1
            if self._queue and not self._is_one_too_many():
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _work(self) -> None:
        self._mine.is_worker = True
        while (call := self._next()) is not None:
            try:
                call()
            except BaseException as error:
                logger.warning("A call on thread %s raised %r", threading.current_thread().name, error)
            # Nothing of a finished call may live on in an idle thread.
            del call


def _complete(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # handed to whoever waits for the future, control signals included
        future.set_exception(error)
    else:
        future.set_result(result)
