"""Schedules: fires each due slot. A slot is a compare-and-set on the schedule's row, so over all hosts it is
fired once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING

from ..db import calls
from ..errors import ExecutorFenced, ExecutorStopping
from ..logs import logger
from .registry import INTERNAL_QUEUE, ScheduleSpec
from .slots import slot_after, slot_arguments
from .tokens import token

if TYPE_CHECKING:
    from .executor import Executor

# A slot missed by less than this is still fired; the database has the same number.
LATE = timedelta(seconds=5)


class Scheduler:
    """One thread, started with the first schedule."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._changed = threading.Condition(threading.Lock())
        # schedule name → (its next slot, None when it is yet to be declared; when that is by time.monotonic())
        self._slots: dict[str, tuple[datetime | None, float]] = {}
        self._new: list[ScheduleSpec] = []
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def add(self, spec: ScheduleSpec) -> None:
        with self._changed:
            self._new.append(spec)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="pyengine-scheduler", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._new or self._is_stopped, timeout=self._delay())
                if self._is_stopped:
                    return
                new, self._new = self._new, []
            try:
                for spec in new:
                    self._try(spec.name, partial(self._declare, spec))
                for name, (slot, at) in list(self._slots.items()):
                    if at <= time.monotonic():
                        self._try(name, partial(self._fire, name, slot))
            except ExecutorStopping:
                return

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except ExecutorFenced:
            self._postpone(name, 0.5)
        except Exception:
            logger.exception("Schedule %s failed; it is tried again", name)
            self._postpone(name, 1.0)

    def _delay(self) -> float | None:
        if not self._slots:
            return None
        return max(0.0, min(at for _, at in self._slots.values()) - time.monotonic())

    def _postpone(self, name: str, seconds: float) -> None:
        slot, _ = self._slots.get(name, (None, 0.0))
        self._slots[name] = (slot, time.monotonic() + seconds)

    def _declare(self, spec: ScheduleSpec) -> None:
        state = self._executor.database.one(
            calls.put_schedule,
            application=self._executor.application,
            schedule_name=spec.name,
            workflow_name=spec.workflow.name,
            cron=spec.cron,
            first_at=slot_after(spec.cron, self._executor.clock.now()),
        )
        self._slots[spec.name] = (state.next_at, time.monotonic() + state.seconds_until)

    def _fire(self, name: str, slot: datetime | None) -> None:
        executor = self._executor
        spec = executor.registry.schedules.get(name)
        if spec is None:
            del self._slots[name]
            return
        if slot is None:
            self._declare(spec)
            return
        now = executor.clock.now()
        slot = slot.astimezone(timezone.utc)
        identity = executor.identity
        fire = partial(
            executor.database.one,
            calls.fire_schedule,
            **identity.owner,
            application=executor.application,
            schedule_name=name,
            slot=slot,
            next_slot=slot_after(spec.cron, max(slot, now - LATE)),
            start_token=token(),
            workflow_id=f"sched-{name}-{slot.isoformat()}",
            name=spec.workflow.name,
            class_name=spec.workflow.class_name,
            app_version=executor.app_version,
            inputs=executor.codec.encode_call(slot_arguments(slot, now), {}),
            max_recovery_attempts=spec.workflow.max_recovery_attempts,
        )
        try:
            verdict = fire()
        except ExecutorFenced:
            executor.on_fenced(identity)
            raise
        executor.clock.set(verdict.server_time)
        self._slots[name] = (verdict.next_at, time.monotonic() + verdict.seconds_until)
        if verdict.verdict == "fired":
            executor.dispatcher.announce(INTERNAL_QUEUE)
