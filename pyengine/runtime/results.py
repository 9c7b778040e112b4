"""Waiting for other workflows' outcomes: one poll for all waiters of the process, and none for what ends in the
process itself. Whoever ends it elsewhere is asked to tell, so that the poll comes at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..db import calls
from ..db.database import Database
from ..db.retry import Backoff
from ..db.rows import Outcome
from ..errors import ExecutorStopping
from ..logs import logger
from .notifications import Voice
from .run import settle
from .waits import ASK_AGAIN_SECONDS

_CHUNK = 1000
# Who waits for more at a time learns of them by polling: it has always something to read.
_MOST_ASKED = 256
_CEILING_SECONDS = 1.0


@dataclass(slots=True)
class _Awaited:
    futures: list[Future[Outcome]] = field(default_factory=list)
    # Others were asked to tell of its end.
    asked_at: float = float("-inf")


class Results:
    """Futures of outcomes, by workflow id."""

    def __init__(self, database: Database, runs_here: Callable[[str], bool], voice: Voice | None) -> None:
        """`voice`: None where processes tell each other nothing."""
        self._database = database
        self._runs_here = runs_here
        self._voice = voice
        self._changed = threading.Condition(threading.Lock())
        self._waiters: dict[str, _Awaited] = {}
        # New, or told of: to be read before the next look at all of them.
        self._urgent: set[str] = set()
        self._backoff = Backoff(ceiling=_CEILING_SECONDS)
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
            self._waiters.setdefault(workflow_id, _Awaited()).futures.append(future)
            # A run of this process pushes its outcome before it stops being one: no need to ask the database at once.
            if not self._runs_here(workflow_id):
                self._urgent.add(workflow_id)
            # The first looks are close together: who is asked to tell of an end may just have made it. And a look costs
            # the more the more is waited for.
            self._backoff.first = min(0.005 + len(self._waiters) / 10_000, _CEILING_SECONDS)
            self._backoff.reset()
            self._due = min(self._due, time.monotonic() + self._backoff.next())
            if self._thread is None:
                self._thread = threading.Thread(target=self._poll, name="pyengine-results", daemon=True)
                self._thread.start()
            self._changed.notify()
        return future

    def forget(self, workflow_id: str, future: Future[Outcome]) -> None:
        """Stop polling for a waiter that gave up."""
        with self._changed:
            awaited = self._waiters.get(workflow_id)
            if awaited is None:
                return
            if future in awaited.futures:
                awaited.futures.remove(future)
            if not awaited.futures:
                del self._waiters[workflow_id]

    def push(self, outcome: Outcome) -> None:
        """An outcome that this process knows to be committed."""
        for future in self._take(outcome.workflow_id):
            settle(future, result=outcome)

    def hear(self, workflow_id: str) -> None:
        """Another process says that it has committed an outcome."""
        with self._changed:
            if workflow_id in self._waiters:
                self._urgent.add(workflow_id)
                self._changed.notify()

    def _take(self, workflow_id: str) -> list[Future[Outcome]]:
        if workflow_id not in self._waiters:  # as for nearly all that end: no lock for them
            return []
        with self._changed:
            awaited = self._waiters.pop(workflow_id, None)
        return [] if awaited is None else awaited.futures

    def stop(self, make_error: Callable[[], BaseException]) -> None:
        with self._changed:
            self._is_stopped = True
            waiters = [future for awaited in self._waiters.values() for future in awaited.futures]
            self._waiters.clear()
            self._changed.notify()
        for future in waiters:
            settle(future, error=make_error())

    def _poll(self) -> None:
        while (ids := self._next()) is not None:
            try:
                for start in range(0, len(ids), _CHUNK):
                    self._read(ids[start : start + _CHUNK])
            except ExecutorStopping:
                return
            self._ask(ids)

    def _next(self) -> list[str] | None:
        """What to read now, as soon as there is something. None: nothing any more."""
        with self._changed:
            while not self._is_stopped:
                if self._urgent:
                    urgent, self._urgent = self._urgent, set()
                    return [workflow_id for workflow_id in urgent if workflow_id in self._waiters]
                now = time.monotonic()
                if self._waiters and self._due <= now:
                    self._due = now + self._backoff.next()
                    # What runs here pushes its outcome: it is read for the sake of who else may have ended it.
                    is_thorough = self._backoff.current >= _CEILING_SECONDS
                    return [each for each in self._waiters if is_thorough or not self._runs_here(each)]
                self._changed.wait(self._due - now if self._waiters else None)
            return None

    def _ask(self, ids: list[str]) -> None:
        """Have others tell of the end of what was read and is unfinished."""
        if self._voice is None or self._database.is_pooled or len(ids) > _MOST_ASKED:
            return
        now = time.monotonic()
        with self._changed:
            unknown = [
                (workflow_id, awaited)
                for workflow_id in ids
                if (awaited := self._waiters.get(workflow_id)) is not None
                and awaited.asked_at + ASK_AGAIN_SECONDS <= now
                and not self._runs_here(workflow_id)
            ]
            for _, awaited in unknown:
                awaited.asked_at = now
        for workflow_id, _ in unknown:
            self._voice.ask(workflow_id)

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
        for future in self._take(workflow_id):
            settle(future, error=error)
