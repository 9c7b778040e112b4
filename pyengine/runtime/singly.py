"""Rows that could not be written with others: each by itself, by a few threads, without delaying one another.

A row that somebody's open transaction is in the way of holds neither a thread nor a connection while it waits: it is
tried again after a pause, behind those that were never tried.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ..db.retry import Backoff

T = TypeVar("T")

# Fewer than the pool has connections by default.
_THREADS = 2
_IDLE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 0.25


class Singly(Generic[T]):
    def __init__(self, write: Callable[[T], bool]) -> None:
        """`write` returns whether it is done with a row. It raises nothing."""
        self._write = write
        self._ready = threading.Condition(threading.Lock())
        self._fresh: deque[T] = deque()
        # When it is due; a number, so that rows are not compared; the row; how long it waits next.
        self._tried: list[tuple[float, int, T, Backoff]] = []
        self._numbers = itertools.count()
        self._threads = 0
        self._idle = 0
        self._is_stopped = False

    def add(self, row: T, *, was_tried: bool = False) -> None:
        """Raises RuntimeError when there is no thread to be had."""
        with self._ready:
            if self._idle == 0 and self._threads < _THREADS:
                threading.Thread(target=self._work, name=f"pyengine-singly-{self._threads + 1}", daemon=True).start()
                self._threads += 1
            if was_tried:
                self._put_off(row, Backoff(ceiling=_LONGEST_PAUSE_SECONDS))
            else:
                self._fresh.append(row)
            self._ready.notify()

    def stop(self) -> None:
        """Wait for nothing any more: whatever is left is tried once more, and its writer says that it is over."""
        with self._ready:
            self._is_stopped = True
            self._ready.notify_all()

    def _put_off(self, row: T, patience: Backoff) -> None:
        heapq.heappush(self._tried, (time.monotonic() + patience.next(), next(self._numbers), row, patience))

    def _next(self) -> tuple[T, Backoff] | None:
        with self._ready:
            while True:
                if self._fresh:
                    return self._fresh.popleft(), Backoff(ceiling=_LONGEST_PAUSE_SECONDS)
                wait = self._tried[0][0] - time.monotonic() if self._tried else _IDLE_SECONDS
                if self._tried and (wait <= 0 or self._is_stopped):
                    _, _, row, patience = heapq.heappop(self._tried)
                    return row, patience
                if not self._is_stopped:
                    self._idle += 1
                    was_notified = self._ready.wait(wait)
                    self._idle -= 1
                    if was_notified or self._fresh or self._tried:
                        continue
                self._threads -= 1
                return None

    def _work(self) -> None:
        while (found := self._next()) is not None:
            row, patience = found
            if not self._write(row):
                with self._ready:
                    self._put_off(row, patience)
            # Nothing of a row that is written may live on in an idle thread.
            del found, row, patience
