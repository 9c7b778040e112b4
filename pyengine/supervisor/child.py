"""An executor under the supervisor: imports the user's program, launches, and ends when it is told to or when the
parent is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import psycopg

from .. import logs
from ..errors import DBOSException, DBOSInitializationError
from ..logs import logger
from ..runtime import supervision
from ..runtime.drain import drain_steps
from ..runtime.notifications import ANY_QUEUE
from ..runtime.registry import REGISTRY, QueueSpec
from ..runtime.signals import flush_standard_streams
from ..runtime.supervision import KillOrder, Place
from . import exit_codes
from .board import Board, Kind, Phase, Slot
from .health import Door
from .imports import load
from .pipes import Bell, Reader
from .signals import Signals, wait
from .spec import WorkerSpec


def run_executor(
    board: Board,
    number: int,
    lifeline: Reader,
    bell: Bell,
    spec: WorkerSpec,
    door: Door | None,
    ear: Reader,
    is_first: bool,
) -> None:
    """The whole life of an executor process. Does not return."""
    if door is not None:
        door.close()  # an orphan must not keep the port from the next worker
    child = _Child(board, board.slots[number], lifeline, bell, ear, spec)
    # What the parent registered is the parent's.
    atexit._clear()
    try:
        code = child.run(is_first=is_first)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    flush_standard_streams()
    # Threads of the program must not keep the process: what they did is handed over.
    os._exit(code)


class BoardSupervision:
    """Tells the board. Called from any thread."""

    def __init__(self, board: Board, slot: Slot, bell: Bell, spec: WorkerSpec) -> None:
        self._head = board.head
        self._slot = slot
        self._bell = bell
        self._max_tasks = spec.max_tasks
        self._max_rss = None if spec.max_rss_mb is None else spec.max_rss_mb * 2**20
        self._order_lock = threading.Lock()
        self.seat = f"{socket.gethostname()}/{board.head.parent_pid}:{slot.seat}"
        self.is_isolated = slot.kind == Kind.ISOLATED

    def connected(self, place: Place) -> None:
        self._slot.write_place(
            {
                "url": place.url,
                "schema": place.schema,
                "application": place.application,
                "is_pooled": place.is_pooled,
                "lease_ttl_seconds": place.lease_ttl_seconds,
                "is_strict": place.is_strict,
            }
        )

    def registered(self, executor_id: int, nonce: int) -> None:
        self._slot.nonce = nonce
        self._slot.executor_id = executor_id

    def fenced(self) -> None:
        self._slot.is_fenced = 1
        self._bell.ring()

    def unserved(self) -> None:
        self._slot.is_unserved = 1

    def resting(self, every_seconds: float) -> None:
        self._slot.rests_every = int(every_seconds * 1e9)

    def progress(self, *, done: int, busy: int) -> None:
        self._slot.stamp = time.monotonic_ns()
        self._slot.rests_every = 0
        self._slot.rss = _resident_bytes()
        self.count(done=done, busy=busy)

    def count(self, *, done: int, busy: int) -> None:
        slot = self._slot
        slot.done = done
        slot.busy = busy
        is_worn = (self._max_tasks is not None and done >= self._max_tasks) or (
            self._max_rss is not None and slot.rss > self._max_rss
        )
        if is_worn and not slot.wants_recycling:
            slot.wants_recycling = 1
            self._bell.ring()

    def order(self, kill: KillOrder | None) -> None:
        with self._order_lock:
            if kill is None:
                self._slot.write_order(None)
                return
            at = int(kill.at * 1e9)
            order: dict[str, Any] = {name: getattr(kill, name) for name in KillOrder.__slots__}
            self._slot.write_order(order, at)
        if at < self._head.looks_at:
            self._bell.ring()


class _Child:
    def __init__(self, board: Board, slot: Slot, lifeline: Reader, bell: Bell, ear: Reader, spec: WorkerSpec) -> None:
        self._head = board.head
        self._slot = slot
        self._lifeline = lifeline
        self._bell = bell
        self._ear = ear
        self._spec = spec
        self._is_orphan = False
        self._supervision = BoardSupervision(board, slot, bell, spec)

    def run(self, *, is_first: bool) -> int:
        supervision.current = self._supervision
        supervision.assignment = supervision.Assignment(
            name=self._spec.name,
            database_url=self._spec.database_url,
            queues=self._spec.queues,
            is_dev=self._spec.is_dev,
            config=self._spec.config,
        )
        logs.configure()
        # During the import there is nothing to hand back: SIGTERM ends it at once.
        code, signals = self._start(is_first=is_first)
        if signals is None:
            return code
        self._slot.phase = Phase.READY
        self._bell.ring()
        if self._head.is_draining:
            os.kill(os.getpid(), signal.SIGTERM)  # the parent's may have come before it was listened for
        while True:
            heard = wait([signals, self._lifeline, self._ear], None)
            if self._ear in heard:
                self._look_for_work()
            if self._lifeline in heard and self._has_lost_parent():
                logger.warning("The supervisor is gone: handing back and ending")
                break
            if signal.SIGTERM in signals.taken():
                break
        return self._end()

    def _start(self, *, is_first: bool) -> tuple[int, Signals | None]:
        """Import and launch; an exit status if that cannot be."""
        from ..api._dbos import DBOS
        from ..api._state import STATE

        try:
            self._import(is_first=is_first)
            if STATE.instance is None:
                DBOS()  # the module only declares; the rest is found as programs find it
            self._check_queues()
            signals = Signals([signal.SIGTERM])
            DBOS.launch()
        except DBOSException as error:
            logger.error("%s", error.message)
            is_outage = isinstance(error.__cause__, psycopg.OperationalError)
            return exit_codes.LATER if is_outage else exit_codes.UNUSABLE, None
        except SystemExit:
            return exit_codes.NOT_SERVED, None
        except BaseException:
            traceback.print_exc()
            return exit_codes.UNUSABLE, None
        return exit_codes.OK, signals

    def _look_for_work(self) -> None:
        """What a dead neighbour left can be claimed."""
        from ..api._state import STATE

        self._ear.drain()
        executor = None if STATE.instance is None else STATE.instance.executor
        if executor is not None:
            executor.dispatcher.hear(ANY_QUEUE)

    def _import(self, *, is_first: bool) -> None:
        try:
            for target in self._spec.targets:
                load(target, tells=is_first)
            _declare(self._spec)
        except SystemExit as error:
            raise DBOSInitializationError(
                f"the program ended while it was imported, with exit status {error.code}"
            ) from error

    def _check_queues(self) -> None:
        unknown = sorted(set(self._spec.queues or ()) - set(REGISTRY.queues))
        if unknown:
            known = ", ".join(REGISTRY.queues) or "none"
            raise DBOSInitializationError(f"--queues: {', '.join(unknown)} is not declared (declared: {known})")

    # -- the end -------------------------------------------------------------------------------------

    def _end(self) -> int:
        """Claim nothing more, let running steps end, hand over the rest. Beats go on as long as anything runs."""
        from ..api._dbos import DBOS
        from ..api._state import STATE

        self._slot.phase = Phase.DRAINING
        executor = None if STATE.instance is None else STATE.instance.executor
        if executor is None:
            return exit_codes.OK
        drain_steps(executor, self._spec.grace_seconds, self._is_hurried)
        if self._is_hurried():
            executor.interrupt_and_hand_back()
        else:
            executor.stop()
        if executor.was_handed_back:
            self._slot.phase = Phase.ENDED
        if not self._is_hurried():
            DBOS.destroy()
        return exit_codes.OK

    def _is_hurried(self) -> bool:
        return bool(self._head.is_fast) or self._has_lost_parent()

    def _has_lost_parent(self) -> bool:
        self._is_orphan = self._is_orphan or not self._lifeline.drain()
        return self._is_orphan


def _declare(spec: WorkerSpec) -> None:
    """Queues that the program which started this fleet declares, and not when it is imported."""
    for queue in spec.declared:
        if queue["name"] not in REGISTRY.queues:
            REGISTRY.add_queue(QueueSpec(**queue))


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        # The peak, where the present cannot be read.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
