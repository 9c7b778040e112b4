"""The beat of an executor: one call a second that renews its lease and tells it what it does not know.

The beat has a connection of its own. Where no pooler is in between it holds the liveness lock: while it lives,
neighbours know that this process does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from ..db import calls
from ..db.database import Session
from ..db.retry import Backoff
from ..db.rows import Duty, Tick
from ..db.sqlstate import is_connection_loss, is_race
from ..errors import DBOSProtocolNotServedError, DBOSWorkflowCancelledError, ExecutorFenced, ExecutorStopping
from ..logs import logger
from .housekeeping import keep_house, vouch_for_the_dead
from .notifications import ANY_QUEUE, Ear
from .probes import Probes
from .rest import Rest

if TYPE_CHECKING:
    from .executor import Executor
    from .incarnations import Identity

TICK_SECONDS = 1.0
# Two looks at a lock lie half a second apart.
_LOOK_AGAIN_SECONDS = 0.52
# What is looked for with the beat or the tick waits for so long at most, when it takes a long walk to see it.
_LONGEST_PROBE_SECONDS = 5.0
_LONGEST_SEEK_SECONDS = 60.0
_NEVER = float("inf")
_REASONS = {
    "cancelled": "The workflow was cancelled",
    "deadline": "The workflow ran into its timeout",
    "deleted": "The workflow was deleted",
}


class Ticker:
    def __init__(self, executor: Executor, ttl_seconds: float, rest: Rest | None = None) -> None:
        self._executor = executor
        self._beat_seconds = ttl_seconds / 3
        self._tick_seconds = min(TICK_SECONDS, self._beat_seconds)
        self._last_beat = 0.0
        # Before this instant nobody is looked for: who lost its own connection is not the one to say who is dead.
        self._looks_from = 0.0
        self._looks_again = False
        # Of queues that hold work, and of claims that this process does not know of.
        self._probes = Probes(_LONGEST_PROBE_SECONDS)
        self._seeks = Probes(_LONGEST_SEEK_SECONDS)
        self._session: Session | None = None
        self._holder: Identity | None = None
        self._rest = rest
        hear = executor.dispatcher.hear if rest is None else rest.heard
        self._ear = Ear(
            {"queues": hear, "waits": executor.waits.hear, "ends": executor.results.hear},
            executor.database.has_backend,
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="pyengine-ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._ear.wake()

    def look_again(self) -> None:
        """Somebody seems to be dead, and it takes two looks to say so: the next tick comes early."""
        self._looks_again = True

    def stop(self) -> None:
        self._stopped.set()
        self._ear.wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self._close()

    def _loop(self) -> None:
        backoff = Backoff(first=0.05, ceiling=1.0)
        while not self._stopped.is_set():
            delay = self._tick_seconds
            self._looks_again = False
            try:
                self.tick()
                if self._rest is not None and self._rest.is_on:
                    delay = self._rest.seconds_left()
                elif self._looks_again:
                    delay = min(delay, _LOOK_AGAIN_SECONDS)
                backoff.reset()
                self._executor.database.outage.found()
            except (ExecutorStopping, DBOSProtocolNotServedError):
                self._close()
                return
            except ExecutorFenced:
                self._close()
                delay = backoff.next()
            except psycopg.Error as error:
                delay = self._failed(error, backoff)
            except Exception:
                logger.exception("A tick failed; the next one follows")
            self._wait(delay)

    def _wait(self, seconds: float) -> None:
        """Until the next tick; what other processes announce meanwhile goes to the dispatcher."""
        connection = None if self._session is None or self._session.connection.closed else self._session.connection
        try:
            self._ear.wait(connection, seconds)
        except psycopg.Error:
            self._close()  # replaced by the next tick, which follows at once
            self._looks_from = _NEVER

    def _failed(self, error: psycopg.Error, backoff: Backoff) -> float:
        if not is_connection_loss(error):
            # A race, or a right that is missing: no reason to let go of the liveness lock.
            logger.log(logging.DEBUG if is_race(error) else logging.ERROR, "A tick failed: %s", error)
            return self._tick_seconds
        # A connection that broke is replaced at once; one that cannot be made is an outage.
        if self._session is None or backoff.current > 0:
            self._executor.database.outage.lost(error)
            self._executor.database.revive()
        self._close()
        self._looks_from = _NEVER
        return backoff.next()

    def tick(self) -> None:
        """One round, bounded: register anew if fenced, beat if due, act on the answer, keep house."""
        executor = self._executor
        executor.ensure_registered()
        identity = executor.identity
        try:
            session = self._connect(identity)
            if self._rest is not None and self._rest.goes_on(session, identity):
                return
            now = time.monotonic()
            is_beat = now - self._last_beat >= self._beat_seconds or (self._rest is not None and self._rest.wants_beat)
            if self._looks_from == _NEVER:
                self._looks_from = now + self._beat_seconds
            looks = now >= self._looks_from
            probed = executor.dispatcher.probed() if self._probes.are_due(now) else []
            seeks = is_beat and self._seeks.are_due(now)
            tick = session.one(
                calls.tick,
                **identity.owner,
                held_fences=executor.runs.fences() if is_beat else None,
                queues=probed,
                accepts_unversioned=executor.accepts_unversioned,
                looks_for_the_dead=None if is_beat else looks,
                seeks_claims=seeks,
            )
            # Which of two looks took long is not known: both are put off, and the short one comes back by itself.
            for probes, was_made in ((self._probes, bool(probed)), (self._seeks, seeks)):
                if was_made:
                    probes.took(time.monotonic() - now, now)
            if is_beat:
                self._last_beat = now
                if self._rest is not None:
                    self._rest.beaten()
                if not tick.holds_liveness and not session.connection.is_pooled:
                    # A former connection of ours may have held it still.
                    session.one(calls.hold_liveness, **identity.owner)
            self._heed(tick, identity)
            executor.tell_progress()
            has_work = is_beat and vouch_for_the_dead(session, executor)
            duties: Iterable[Duty] = map(Duty, tick.duties, tick.subjects)
            if is_beat:
                duties = session.all(calls.housekeep, **identity.owner, looks_for_the_dead=looks)
            has_work = keep_house(session, executor, duties) or has_work
            if has_work:
                executor.dispatcher.announce(ANY_QUEUE)
            if self._rest is not None:
                self._rest.ticked(session, identity, is_busy=has_work or bool(tick.ready_queues))
        except ExecutorFenced:
            executor.on_fenced(identity)
            raise

    def _heed(self, tick: Tick, identity: Identity) -> None:
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
                run.interrupt(partial(DBOSWorkflowCancelledError, _REASONS.get(reason, reason), workflow_id))
        if tick.unheld_fences:
            self._adopt(tick.unheld_fences, identity)
        if tick.ready_queues:
            executor.dispatcher.hint(*tick.ready_queues)

    def _adopt(self, fences: list[int], identity: Identity) -> None:
        """Claims whose reply never arrived, and runs that were broken off: they are ours, so they are run."""
        executor = self._executor
        running = executor.runs.take_up(fences)
        for claim in executor.database.all(calls.load_claims, **identity.owner, fences=fences):
            if (claim.workflow_id, claim.fence) not in running:
                executor.run_claim(claim._replace(replay=True), identity)

    def _connect(self, identity: Identity) -> Session:
        if self._session is None or self._session.connection.closed or self._holder != identity:
            # Registered anew, too: the former incarnation must not look alive.
            self._close()
            # A broken link must show within the lease, and be tried again soon after.
            connection = self._executor.database.connect(
                connect_timeout=max(2, int(self._beat_seconds / 2)), tcp_user_timeout=int(self._beat_seconds * 1000)
            )
            session = Session(connection, self._executor.database.schema)
            try:
                self._executor.check_same_server(connection.server_identity)
                if not connection.is_pooled:
                    session.one(calls.hold_liveness, **identity.owner)
                    if self._executor.notifies:
                        self._ear.open(connection)
                        session.one(calls.listen_to_queues, application=self._executor.application)
                        session.one(
                            calls.listen_to_waits,
                            application=self._executor.application,
                            listener=self._executor.listener,
                        )
            except BaseException:
                session.close()
                raise
            self._session, self._holder = session, identity
            self._last_beat = 0.0
        return self._session

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except psycopg.Error:
                logger.debug("closing the beat's connection failed", exc_info=True)
