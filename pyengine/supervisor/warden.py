"""The warden: the first child of the parent. It runs no user code, beats for all executors of the host in one statement
a second, and buries the dead: what a child left is claimable within milliseconds of its death.

Nothing depends on it alone. Executors beat for themselves as long as their interpreter lets them, and whatever stands
on the board when a warden dies is done by the next one.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

import psycopg

from .. import logs
from ..db import calls
from ..db.database import Session
from ..db.retry import Backoff, OutageLog
from ..db.sqlstate import is_connection_loss, is_race
from ..errors import DBOSException, DBOSStepTimeoutError, ExecutorFenced
from ..logs import logger
from ..runtime.housekeeping import move_work
from ..runtime.notifications import ANY_QUEUE
from ..runtime.signals import flush_standard_streams
from ..serialization import Codec
from . import health
from .board import Board, Phase, Slot
from .obituary import Obituary, obituary
from .pipes import Bell, Reader
from .signals import wait
from .spec import WorkerSpec

_SECOND = 1_000_000_000
# With rows that are locked: how long it is tried again at once.
_PATIENCE_SECONDS = 2.0


def run_warden(
    board: Board,
    number: int,
    lifeline: Reader,
    bell: Bell,
    spec: WorkerSpec,
    door: health.Door | None,
    hears: Reader,
) -> None:
    """The whole life of a warden process. Does not return."""
    # It ends when the board says so: some managers send SIGTERM to all processes of a service at once.
    signal.signal(signal.SIGTERM, _nothing)
    logs.configure()
    code = 0
    try:
        if door is not None:
            health.serve(board, spec.processes, door)
        Warden(board, board.slots[number], lifeline, bell, hears).run()
    except BaseException:
        traceback.print_exc()
        code = 1
    flush_standard_streams()
    os._exit(code)


class Warden:
    def __init__(self, board: Board, slot: Slot, lifeline: Reader, bell: Bell, hears: Reader) -> None:
        self._board = board
        self._slot = slot
        self._lifeline = lifeline
        self._bell = bell
        self._hears = hears
        self._session: Session | None = None
        self._place: dict[str, Any] | None = None
        self._watch_at = 0
        self._watched_at = 0
        self._backoff = Backoff(first=0.05, ceiling=1.0)
        self._outage = OutageLog()
        self._retry_at = 0

    def run(self) -> None:
        while not self._board.head.is_over:
            self._slot.stamp = now = time.monotonic_ns()
            if now >= self._retry_at:
                self._round()
            until = max(self._retry_at, self._watch_at)
            for source in wait([self._lifeline, self._hears], (until - time.monotonic_ns()) / _SECOND):
                if source is self._hears:
                    self._hears.drain()
                elif source is self._lifeline and not self._lifeline.drain():
                    return  # the children end by themselves, too

    def _round(self) -> None:
        try:
            self._bury_the_dead()
            self._watch_if_due()
        except psycopg.Error as error:
            self._close()
            delay = self._backoff.next()
            if self._backoff.current > 0.1:  # a connection that broke is replaced at once
                self._outage.lost(error)
            self._retry_at = time.monotonic_ns() + int(delay * _SECOND)
            # Nobody to bury and nothing to watch in between: Postgres is away.
            self._watch_at = self._retry_at
        else:
            self._backoff.reset()
            self._retry_at = 0

    # -- the living ----------------------------------------------------------------------------------

    def _watch_if_due(self) -> None:
        now = time.monotonic_ns()
        if now >= self._watch_at:
            if now < self._watched_at + self._rest():
                self._watch_at = now + _SECOND  # it looks at the board, and asks nobody
                return
            # Planned first: a round that fails is tried again soon, by _retry_at.
            self._watch_at = now + _SECOND
            self._watch()
            self._watched_at = now

    def _rest(self) -> int:
        """How seldom the executors want to be beaten for: as the one of them does that rests the least."""
        return min((slot.rests_every for slot in self._board.executors() if slot.executor_id), default=0)

    def _watch(self) -> None:
        """One statement for all: a step that holds the interpreter of its process is not taken for dead."""
        head = self._board.head
        watched = {slot.executor_id: slot for slot in self._board.executors() if slot.executor_id}
        if not watched:
            return
        session = self._connect()
        has_suspects = False
        ids = sorted(watched)
        for row in session.all(
            calls.watch_executors, executor_ids=ids, nonces=[watched[each].nonce for each in ids], renew=True
        ):
            slot = watched[row.executor_id]
            has_suspects = has_suspects or row.has_suspects
            if row.is_alive:
                slot.renewed_at = time.monotonic_ns()
            elif slot.phase < Phase.DRAINING and slot.declared_dead != slot.generation:
                # One that is ending has marked itself.
                logger.warning("Executor %d (process %d) was declared dead", row.executor_id, slot.pid)
                slot.declared_dead = slot.generation
                self._bell.ring()
        self._outage.found()
        now = head.warden_stamp = time.monotonic_ns()
        head.suspects_seen_at = now
        if has_suspects:
            is_news = not head.has_suspects_at
            head.has_suspects_at = now
            if is_news:
                self._bell.ring()
        elif now - head.has_suspects_at > 5 * _SECOND:
            head.has_suspects_at = 0

    # -- the dead ------------------------------------------------------------------------------------

    def _bury_the_dead(self) -> None:
        dead = list(self._board.unburied())
        # All marks first: what is handed over should not go to another one that is dead.
        marked = [slot for slot in dead if self._try(self._mark, slot)]
        handed_over = [slot for slot in marked if self._try(self._hand_over, slot)]
        if handed_over:
            self._try(self._announce, handed_over[0])
        for slot in dead:
            slot.buried = slot.generation
        if dead:
            self._bell.ring()

    def _try(self, act: Callable[[Slot], bool], slot: Slot) -> bool:
        """What cannot be done for one, though Postgres answers, is left to its lease."""
        try:
            return act(slot)
        except psycopg.Error as error:
            if is_connection_loss(error) or is_race(error):
                raise
            reason: Exception = error
        except DBOSException as error:
            reason = error
        logger.error("Could not hand over the work of executor %d: %s", slot.executor_id, reason)
        return False

    def _mark(self, slot: Slot) -> bool:
        """False: the database does not know it, as after a failover that lost its registration."""
        told = obituary(slot)
        session = self._connect(slot)
        culprit = None if told.order is None else str(told.order["workflow_id"])
        if told.order is not None and told.order["step_id"] is not None and self._record_attempt(slot, told):
            culprit = None
        return session.one(
            calls.mark_executor_dead,
            executor_id=slot.executor_id,
            nonce=slot.nonce,
            reason=told.reason,
            detail=told.detail,
            culprit=culprit,
        )

    def _record_attempt(self, slot: Slot, told: Obituary) -> bool:
        """The attempt that was killed counts as one that failed, so that it is retried or raised as any other."""
        order: Any = told.order
        place = slot.read_place() or {}
        error = DBOSStepTimeoutError(order["step_name"], order["seconds"])
        try:
            verdict = self._connect(slot).one(
                calls.record_attempt,
                executor_id=slot.executor_id,
                nonce=slot.nonce,
                workflow_id=order["workflow_id"],
                fence=order["fence"],
                step_id=order["step_id"],
                attempt=order["attempt"],
                error=Codec(strict=bool(place.get("is_strict"))).encode_error(error),
            )
        except ExecutorFenced:
            return False
        return verdict == "ok"

    def _hand_over(self, slot: Slot) -> bool:
        """The living are not forgotten meanwhile."""
        moved = move_work(
            self._connect(slot),
            slot.executor_id,
            patience_seconds=_PATIENCE_SECONDS,
            between_chunks=self._watch_if_due,
        )
        logger.info("Handed over %d workflow(s) of executor %d (process %d)", moved, slot.executor_id, slot.pid)
        return True

    def _announce(self, slot: Slot) -> bool:
        """Whoever is idle looks for what was handed over at once, and not with its next tick."""
        session = self._connect(slot)
        if self._place is not None:
            session.one(calls.notify_queues, application=self._place["application"], queues=[ANY_QUEUE])
        return True

    # -- the connection ------------------------------------------------------------------------------

    def _connect(self, slot: Slot | None = None) -> Session:
        if self._session is not None and not self._session.connection.closed:
            return self._session
        place = self._find_place(slot)
        if place is None:
            raise psycopg.OperationalError("no executor has told yet where its work lives")
        self._session = Session.open(place["url"], place["schema"], is_pooled=place["is_pooled"])
        self._place = place
        return self._session

    def _find_place(self, slot: Slot | None) -> dict[str, Any] | None:
        slots = [slot] if slot is not None else list(self._board.executors())
        return next((place for each in slots if (place := each.read_place()) is not None), self._place)

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except psycopg.Error:
                logger.debug("closing the warden's connection failed", exc_info=True)


def _nothing(number: int, frame: object) -> None:
    return None
