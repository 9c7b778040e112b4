"""The beat of an executor: one call a second that renews its lease and tells it what it does not know.

The beat has a connection of its own, which holds the liveness lock: while it lives, neighbours know that this
process does.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from ..db import calls
from ..db.database import Session
from ..db.retry import Backoff, OutageLog
from ..db.rows import Tick
from ..errors import DBOSWorkflowCancelledError, ExecutorFenced, ExecutorStopping
from ..logs import logger
from .housekeeping import keep_house
from .registry import INTERNAL_QUEUE

if TYPE_CHECKING:
    from .executor import Executor

TICK_SECONDS = 1.0


class Ticker:
    def __init__(self, executor: Executor, ttl_seconds: float) -> None:
        self._executor = executor
        self._beat_seconds = ttl_seconds / 3
        self._last_beat = 0.0
        self._session: Session | None = None
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._outage = OutageLog()
        self._thread = threading.Thread(target=self._loop, name="pyengine-ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopped.set()
        self._woken.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self._close()

    def _loop(self) -> None:
        backoff = Backoff(first=0.05, ceiling=1.0)
        while not self._stopped.is_set():
            delay = TICK_SECONDS
            try:
                self.tick()
                backoff.reset()
                self._outage.found()
            except ExecutorStopping:
                return
            except ExecutorFenced:
                self._close()
                delay = backoff.next()
            except psycopg.Error as error:
                self._outage.lost(error)
                self._close()
                self._executor.database.revive()
                delay = backoff.next()
            except Exception:
                logger.exception("A tick failed; the next one follows")
            self._woken.wait(delay)
            self._woken.clear()

    def tick(self) -> None:
        """One round, bounded: register anew if fenced, beat if due, act on the answer, keep house."""
        executor = self._executor
        executor.ensure_registered()
        session = self._connect()
        now = time.monotonic()
        is_beat = now - self._last_beat >= self._beat_seconds
        identity = executor.identity
        try:
            tick = session.one(
                calls.tick,
                **executor.owner,
                held_fences=executor.runs.fences() if is_beat else None,
                queues=executor.served_queues(),
                accepts_unversioned=executor.accepts_unversioned,
            )
            if is_beat:
                self._last_beat = now
            self._heed(tick)
            if keep_house(session, executor):
                executor.dispatcher.wake(INTERNAL_QUEUE, *executor.served_queues())
        except ExecutorFenced:
            executor.on_fenced(identity)
            raise

    def _heed(self, tick: Tick) -> None:
        executor = self._executor
        executor.clock.set(tick.server_time)
        executor.accepts_unversioned = tick.accepts_unversioned
        executor.check_served(tick.oldest_protocol)
        executor.check_same_server(tick.server_identity)
        lost = zip(
            tick.interrupted_ids or (), tick.interrupted_fences or (), tick.interrupted_reasons or (), strict=True
        )
        for workflow_id, fence, reason in lost:
            run = executor.runs.get(workflow_id, fence)
            if run is not None:
                run.interrupt(partial(DBOSWorkflowCancelledError, reason, workflow_id))
        if tick.unheld_fences:
            self._adopt(tick.unheld_fences)
        if tick.ready_queues:
            executor.dispatcher.hint(*tick.ready_queues)

    def _adopt(self, fences: list[int]) -> None:
        """Claims whose reply never arrived, and runs that user code broke off: they are ours, so they are run."""
        for claim in self._executor.database.all(calls.load_claims, **self._executor.owner, fences=fences):
            self._executor.run_claim(claim._replace(replay=True))

    def _connect(self) -> Session:
        if self._session is None or self._session.connection.closed:
            session = Session(self._executor.database.url, self._executor.database.schema)
            try:
                session.one(calls.hold_liveness, **self._executor.owner)
            except BaseException:
                session.close()
                raise
            self._session = session
            self._last_beat = 0.0
        return self._session

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except psycopg.Error:
                logger.debug("closing the beat's connection failed", exc_info=True)
