"""Limits that only the end of a process can enforce: sync code cannot be interrupted from within.

While limited code runs, an order stands: when it is still running at that instant, the supervisor kills this process.
What else ran here is handed over and not counted as crashed. Each change tells the supervisor the earliest order, so
it holds even while a step keeps the interpreter to itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

from ..logs import logger
from .supervision import KillOrder, Supervision

if TYPE_CHECKING:
    from .registry import StepSpec
    from .run import Run


_NO_LIMIT: AbstractContextManager[None] = nullcontext()


class Limits:
    """The orders that stand in this process, by whom they are for."""

    def __init__(self, supervision: Supervision | None) -> None:
        self._supervision = supervision
        self._lock = threading.Lock()
        self._orders: dict[Hashable, KillOrder] = {}
        self._told: KillOrder | None = None
        self._has_warned = False

    def place(self, key: Hashable, order: KillOrder) -> None:
        """From here on; of two orders under one key the earlier stands."""
        if self._supervision is None:
            self._warn(order)
            return
        with self._lock:
            former = self._orders.get(key)
            if former is None or order.at < former.at:
                self._orders[key] = order
                self._tell()

    def lift(self, key: Hashable) -> None:
        """What it was for has ended."""
        if self._supervision is None:
            return
        with self._lock:
            if self._orders.pop(key, None) is not None:
                self._tell()

    def _tell(self) -> None:
        # Few: only limited code that is running has one.
        earliest = min(self._orders.values(), key=lambda order: order.at, default=None)
        if earliest is not self._told:
            self._told = earliest
            assert self._supervision is not None
            self._supervision.order(earliest)

    def _warn(self, order: KillOrder) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "kill_after_seconds of %s has no effect in this process: it takes a supervisor to end a process. "
                "Run the program with `pyengine worker`",
                order.step_name,
            )

    # -- what is limited ---------------------------------------------------------------------------

    def of_attempt(self, run: Run, spec: StepSpec, step_id: int, attempt: int) -> AbstractContextManager[None]:
        """One attempt of a step, counted from 1."""
        if spec.kill_after_seconds is None and run.spec.kill_after_seconds is None:
            return _NO_LIMIT
        return self._of_attempt(run, spec, step_id, attempt)

    @contextmanager
    def _of_attempt(self, run: Run, spec: StepSpec, step_id: int, attempt: int) -> Iterator[None]:
        orders = [
            order for order in (_step_order(run, spec, step_id, attempt), _deadline_order(run)) if order is not None
        ]
        key = object()
        try:
            for order in orders:
                self.place(key, order)
            yield
        finally:
            if orders:
                self.lift(key)

    def of_cancelled(self, run: Run) -> None:
        """A workflow that was told to end. Lifted under the run itself."""
        seconds = run.spec.kill_after_seconds
        if seconds is not None:
            self.place(run, _workflow_order(run, time.monotonic() + seconds, seconds))


def _step_order(run: Run, spec: StepSpec, step_id: int, attempt: int) -> KillOrder | None:
    seconds = spec.kill_after_seconds
    if seconds is None:
        return None
    return KillOrder(
        at=time.monotonic() + seconds,
        seconds=seconds,
        workflow_id=run.workflow_id,
        fence=run.fence,
        step_id=step_id,
        step_name=spec.name,
        attempt=attempt,
    )


def _deadline_order(run: Run) -> KillOrder | None:
    """Placed before the deadline: a step that keeps the interpreter to itself would keep the news of it out, too.

    Only around steps. A workflow that waits is not killed for a deadline that an outage of Postgres keeps it from
    hearing of.
    """
    seconds = run.spec.kill_after_seconds
    if seconds is None or run.deadline is None:
        return None
    return _workflow_order(run, _local(run, run.deadline) + seconds, seconds)


def _local(run: Run, instant: datetime) -> float:
    return time.monotonic() + (instant - run.executor.clock.now()).total_seconds()


def _workflow_order(run: Run, at: float, seconds: float) -> KillOrder:
    return KillOrder(
        at=at,
        seconds=seconds,
        workflow_id=run.workflow_id,
        fence=run.fence,
        step_id=None,
        step_name=run.spec.name,
        attempt=0,
    )
