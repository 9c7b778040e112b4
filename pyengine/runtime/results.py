"""Waiting for other workflows' outcomes: one poll for all waiters of the process, and none for what ends in the
process itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from ..db import calls
from ..db.database import Database
from ..db.retry import Backoff
from ..db.rows import Outcome
from ..errors import ExecutorStopping
from ..logs import logger
from .run import settle

_CHUNK = 1000


class Results:
    """Futures of outcomes, by workflow id."""

    def __init__(self, database: Database, runs_here: Callable[[str], bool]) -> None:
        self._database = database
        self._runs_here = runs_here
        self._changed = threading.Condition(threading.Lock())
        self._waiters: dict[str, list[Future[Outcome]]] = {}
        self._backoff = Backoff(first=0.02, ceiling=1.0)
        self._thread: threading.Thread | None = None
        self._due = 0.0
        self._is_stopped = False

    def future(self, workflow_id: str) -> Future[Outcome]:
        """A future of its own for each caller. It stays open as long as the workflow is unfinished, or unknown."""
        future: Future[Outcome] = Future()
        with self._changed:
            if self._is_stopped:
                raise ExecutorStopping("the engine is shutting down")
            if not self._waiters:
                self._due = float("inf")
            self._waiters.setdefault(workflow_id, []).append(future)
            # A run of this process pushes its outcome before it stops being one: no need to ask the database at once.
            self._backoff.reset()
            first_poll = self._backoff.next() if self._runs_here(workflow_id) else 0.0
            self._due = min(self._due, time.monotonic() + first_poll)
            if self._thread is None:
                self._thread = threading.Thread(target=self._poll, name="pyengine-results", daemon=True)
                self._thread.start()
            self._changed.notify()
        return future

    def forget(self, workflow_id: str, future: Future[Outcome]) -> None:
        """Stop polling for a waiter that gave up."""
        with self._changed:
            waiters = self._waiters.get(workflow_id, [])
            if future in waiters:
                waiters.remove(future)
            if not waiters:
                self._waiters.pop(workflow_id, None)

    def push(self, outcome: Outcome) -> None:
        """An outcome that this process knows to be committed."""
        with self._changed:
            waiters = self._waiters.pop(outcome.workflow_id, ())
        for future in waiters:
            settle(future, result=outcome)

    def stop(self, make_error: Callable[[], BaseException]) -> None:
        with self._changed:
            self._is_stopped = True
            waiters = [future for futures in self._waiters.values() for future in futures]
            self._waiters.clear()
            self._changed.notify()
        for future in waiters:
            settle(future, error=make_error())

    def _poll(self) -> None:
        while True:
            with self._changed:
                while not self._is_stopped and (not self._waiters or self._due > time.monotonic()):
                    self._changed.wait(self._due - time.monotonic() if self._waiters else None)
                if self._is_stopped:
                    return
                ids = list(self._waiters)
                self._due = time.monotonic() + self._backoff.next()
            try:
                for start in range(0, len(ids), _CHUNK):
                    self._read(ids[start : start + _CHUNK])
            except ExecutorStopping:
                return

    def _read(self, ids: list[str]) -> None:
        try:
            outcomes = self._database.all(calls.read_outcomes, workflow_ids=ids)
        except Exception as error:
            # Not an outage, which the database layer waits out: this one would come again with every poll. Whom it
            # concerns is told, and nobody else waits for that.
            logger.error("Reading the results of %d workflow(s) failed: %s", len(ids), error)
            if len(ids) > 1:
                for workflow_id in ids:
                    self._read([workflow_id])
            else:
                self._fail(ids[0], error)
            return
        for outcome in outcomes:
            self.push(outcome)

    def _fail(self, workflow_id: str, error: Exception) -> None:
        with self._changed:
            waiters = self._waiters.pop(workflow_id, ())
        for future in waiters:
            settle(future, error=error)
