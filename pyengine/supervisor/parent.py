"""The parent: forks, reaps and signals. It runs no user code, opens no connection and starts no thread, so nothing of
what the others do can stop it; and it works as the first process of a container.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from typing import Any

from ..errors import DBOSInitializationError
from ..logs import logger
from ..machine import oom_kills
from . import exit_codes
from .board import Board, Killed, Kind, Phase, Slot, State
from .child import run_executor
from .health import Door
from .obituary import how_it_ended
from .pipes import Reader, pipe
from .processes import Nursery, choose_start_method
from .seats import Seat, seats
from .signals import HANDLED, HasFileno, Signals, name_of, wait
from .spec import WorkerSpec
from .warden import run_warden

_SECOND = 1_000_000_000
_LOOK_EVERY = _SECOND
# After the grace: the time a child gets to hand back what did not end.
_HAND_BACK = 5 * _SECOND
_FAST = 3 * _SECOND
_BURIAL = 5 * _SECOND
_WARDEN_END = 2 * _SECOND
# No suspect seen for so long: the isolated seat is not needed.
_SUSPECTS_GONE = 5 * _SECOND
_DEFAULT_TTL = 15.0
# The warden does nothing that may take long; stopped, it is soon missed.
_WARDEN_FROZEN = 3 * _SECOND
_FAST_SIGNALS = {getattr(signal, "SIGQUIT", -1)}
_NEVER = 2**63 - 1


def run(spec: WorkerSpec, *, owner: Reader | None = None) -> int:
    """Run the fleet until it is told to end; the exit status of the program.

    owner: a pipe that the program holds which started this one; at its end, the fleet ends. Raises
    DBOSInitializationError when it cannot be started as it is asked for.
    """
    try:
        door = None if spec.health is None else Door.open(spec.health)
    except OSError as error:
        raise DBOSInitializationError(f"probes cannot be answered at {spec.health}: {error}") from error
    parent = Parent(spec, door, owner)
    try:
        return parent.run()
    finally:
        parent.close()


class Parent:
    def __init__(self, spec: WorkerSpec, door: Door | None, owner: Reader | None) -> None:
        self._spec = spec
        self._nursery = Nursery(choose_start_method(spec.start_method))
        self._warden, self._executors, self._isolated = seats(spec.processes)
        self._seats = [self._warden, *self._executors, self._isolated]
        # As many again for the dead that are not buried yet, twice.
        self._board = Board(3 * len(self._seats))
        self._board.head.parent_pid = os.getpid()
        self._lifeline, self._lifeline_held = pipe()
        self._heard, self._bell = pipe()
        self._warden_hears, self._warden_bell = pipe()
        self._door = door
        self._owner = owner
        self._signals = Signals(HANDLED)
        for close in (self._lifeline_held.close, self._heard.close, self._warden_bell.close, self._signals.abandon):
            self._nursery.keep_from_children(close)
        for seat in self._seats:
            self._nursery.keep_from_children(seat.close_bell)
        self._was_ready = False
        self._status = exit_codes.OK
        self._reason = 0
        self._kill_at = _NEVER
        self._buried_by = _NEVER
        self._ends_by = _NEVER

    # -- life --------------------------------------------------------------------------------------

    def run(self) -> int:
        spec = self._spec
        logger.info(
            "Worker %d: %d executor process(es) of %s, started by %s",
            os.getpid(),
            spec.processes,
            ", ".join(spec.targets),
            self._nursery.method,
        )
        gc.freeze()  # what is shared with the children stays shared
        while True:
            self._look()
            if self._is_over():
                return self._status
            heard = wait(self._sources(), (self._board.head.looks_at - time.monotonic_ns()) / _SECOND)
            if self._heard in heard:
                self._heard.drain()
            for number in self._signals.taken():
                self._take_signal(number)
            if self._owner in heard:
                self._hear_owner(self._owner)
            self._reap()

    def close(self) -> None:
        """Leave nobody behind, whatever happened here."""
        for seat in self._seats:
            if seat.child is not None:
                with contextlib.suppress(ProcessLookupError):
                    seat.child.signal(signal.SIGKILL)
        for seat in self._seats:
            if seat.child is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(seat.child.pid, 0)
                seat.child.buried(-signal.SIGKILL)
                seat.child = None
        for end in (
            self._lifeline, self._lifeline_held, self._heard, self._bell, self._warden_hears, self._warden_bell,
        ):  # fmt: skip
            end.close()
        for other in (self._door, self._owner):
            if other is not None:
                other.close()
        self._signals.close()
        self._board.close()

    def _is_over(self) -> bool:
        return self._is_draining and all(seat.is_empty for seat in self._seats)

    @property
    def _is_draining(self) -> bool:
        return bool(self._board.head.is_draining)

    # -- signals: what the world wants ----------------------------------------------------------------

    def _take_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        if not self._is_draining:
            logger.info(
                "%s: claiming nothing more; running steps end within %g s, the rest is handed over",
                name_of(number),
                self._spec.grace_seconds,
            )
            self._reason = number
            self._drain(is_fast=number in _FAST_SIGNALS)
        elif self._board.head.is_fast:
            self._kill_at = 0
        else:
            logger.info("%s again: everything is handed over now", name_of(number))
            self._status = self._status or 128 + number
            self._drain(is_fast=True)

    def _sources(self) -> list[HasFileno]:
        return [self._signals, self._heard, *([] if self._owner is None else [self._owner])]

    def _hear_owner(self, owner: Reader | None) -> None:
        if owner is not None and not owner.drain():
            self._owner = None
            logger.info("The program that started this worker is gone: handing over and ending")
            owner.close()
            self._drain(is_fast=True)

    def _drain(self, *, is_fast: bool = False) -> None:
        now = time.monotonic_ns()
        head = self._board.head
        head.is_draining = 1
        patience = _FAST if is_fast else int(self._spec.grace_seconds * _SECOND) + _HAND_BACK
        self._kill_at = min(self._kill_at, now + patience)
        if is_fast:
            head.is_fast = 1
        for seat in (*self._executors, self._isolated):
            self._tell_to_end(seat)

    def _tell_to_end(self, seat: Seat) -> None:
        if seat.child is not None:
            seat.is_told_to_end = True
            self._signal(seat, signal.SIGTERM)
            self._signal(seat, signal.SIGCONT)  # a stopped one could not end

    def _signal(self, seat: Seat, number: int) -> None:
        if seat.child is not None:
            with contextlib.suppress(ProcessLookupError):
                seat.child.signal(number)

    def _kill(self, seat: Seat, why: int, *, order_at: int = 0) -> None:
        if seat.slot is not None and not seat.slot.killed:
            seat.slot.killed_order_at = order_at
            seat.slot.killed = why
            self._signal(seat, signal.SIGKILL)

    # -- looking: what the board wants -----------------------------------------------------------------

    def _look(self) -> None:
        head = self._board.head
        head.looks_at = _NEVER  # whoever writes something urgent meanwhile rings
        now = head.parent_stamp = time.monotonic_ns()
        next_look = now + _LOOK_EVERY
        for seat in (*self._executors, self._isolated):
            if seat.slot is not None:
                next_look = min(next_look, self._judge(seat, seat.slot, now))
        if self._warden.stopped_since and now - self._warden.stopped_since > _WARDEN_FROZEN:
            self._kill(self._warden, Killed.FROZEN)
        self._free_slots()
        if self._is_draining:
            next_look = min(next_look, self._look_after_drain(now))
        else:
            self._recycle()
            self._tend_isolated(now)
        next_look = min(next_look, self._fill_seats(now))
        head.looks_at = next_look

    def _judge(self, seat: Seat, slot: Slot, now: int) -> int:
        """Kill it if it has to be; else when to look at it again."""
        order_at = slot.order_at
        if order_at and order_at <= now:
            self._kill(seat, Killed.ORDER, order_at=order_at)
        elif slot.is_fenced or slot.declared_dead == slot.generation:
            self._kill(seat, Killed.FENCED)
        elif seat.stopped_since and now - seat.stopped_since > _ttl(slot) * _SECOND:
            self._kill(seat, Killed.FROZEN)
        if slot.phase >= Phase.READY:
            self._was_ready = True
        return order_at or _NEVER

    def _free_slots(self) -> None:
        """Of those that are buried. What they left can be claimed now: whoever lives is told, and need not find out."""
        buried = [slot for slot in self._board.slots if slot.state == State.DEAD and slot.buried == slot.generation]
        for slot in buried:
            slot.state = State.FREE
        for seat in self._seats if buried else ():
            if seat.bell is not None:
                seat.bell.ring()

    def _look_after_drain(self, now: int) -> int:
        workers = [seat for seat in (*self._executors, self._isolated) if not seat.is_empty]
        if workers:
            if now >= self._kill_at:
                for seat in workers:
                    self._kill(seat, Killed.GRACE)
            return self._kill_at if now < self._kill_at else _NEVER
        if self._buried_by == _NEVER:
            self._buried_by = now + _BURIAL
        if any(self._board.unburied()) and now < self._buried_by and not self._has_failed:
            return self._buried_by
        if not self._board.head.is_over:
            self._board.head.is_over = 1
            self._warden_bell.ring()
            self._ends_by = now + _WARDEN_END
        elif now >= self._ends_by:
            self._kill(self._warden, Killed.STUCK)
        return self._ends_by if now < self._ends_by else _NEVER

    @property
    def _has_failed(self) -> bool:
        """Nothing ever ran: nothing is to be buried."""
        return not self._was_ready and self._status != exit_codes.OK

    def _recycle(self) -> None:
        """One at a time, so that the others carry the work."""
        if any(seat.is_told_to_end for seat in self._executors):
            return
        for seat in self._executors:
            if seat.slot is not None and seat.slot.wants_recycling:
                logger.info("Recycling %s (process %d) after %d runs", seat.name, seat.slot.pid, seat.slot.done)
                self._tell_to_end(seat)
                return

    def _tend_isolated(self, now: int) -> None:
        """The isolated seat is filled as long as there are suspects."""
        seat, slot = self._isolated, self._isolated.slot
        if slot is None or seat.is_told_to_end or self._are_suspects(now):
            return
        if slot.phase == Phase.READY and not slot.busy:
            self._tell_to_end(seat)

    def _are_suspects(self, now: int) -> bool:
        seen = self._board.head.has_suspects_at
        return bool(seen) and now - seen < _SUSPECTS_GONE

    # -- children come and go --------------------------------------------------------------------------

    def _fill_seats(self, now: int) -> int:
        """Start who is due; returns when the next one is."""
        due = []
        for seat in self._wanted_seats(now):
            if not seat.is_empty or seat.is_retired:
                continue
            if seat.restart_at > now:
                due.append(seat.restart_at)
            elif not self._start(seat):
                due.append(now + _LOOK_EVERY)
        return min(due, default=_NEVER)

    def _wanted_seats(self, now: int) -> list[Seat]:
        if self._is_draining:
            # Whoever dies now is not replaced, but for the one who buries.
            return [] if self._board.head.is_over or self._has_failed else [self._warden]
        if not self._was_ready:
            # The first one alone: what is wrong with the program is said once.
            return [self._warden, *self._executors[:1]]
        return [self._warden, *self._executors, *([self._isolated] if self._are_suspects(now) else ())]

    def _start(self, seat: Seat) -> bool:
        slot = next((slot for slot in self._board.slots if slot.state == State.FREE), None)
        if slot is None:
            return False  # Postgres is away, and the dead wait for their burial
        generation = slot.generation + 1
        slot.clear()
        seat.incarnations += 1
        slot.generation = generation
        slot.seat, slot.kind, slot.started_at = seat.number, seat.kind, time.monotonic_ns()
        slot.oom_kills = oom_kills()
        slot.state = State.ALIVE
        try:
            seat.child = self._start_child(seat, slot)
        except OSError as error:
            logger.error("Could not start %s: %s", seat.name, error)
            slot.state = State.FREE
            seat.restart_at = time.monotonic_ns() + int(max(1.0, seat.backoff.after_death(0)) * _SECOND)
            return True
        slot.pid = seat.child.pid
        seat.slot, seat.stopped_since, seat.is_told_to_end = slot, 0, False
        self._reap_what_others_reaped()
        return True

    def _start_child(self, seat: Seat, slot: Slot) -> Any:
        name = f"pyengine-{seat.number}"
        common = (self._board, slot.number, self._lifeline, self._bell, self._spec, self._door)
        if seat.kind == Kind.WARDEN:
            return self._nursery.start(name, run_warden, *common, self._warden_hears)
        is_first = not self._was_ready and seat.incarnations == 1
        ear, seat.bell = pipe()
        try:
            return self._nursery.start(name, run_executor, *common, ear, is_first)
        finally:
            ear.close()

    def _reap(self) -> None:
        """Everybody who has ended, strangers too: the first process of a container is the parent of all orphans."""
        flags = os.WNOHANG | os.WUNTRACED | getattr(os, "WCONTINUED", 0)
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                return
            if pid == 0:
                return
            seat = next((seat for seat in self._seats if seat.child is not None and seat.child.pid == pid), None)
            if seat is None:
                continue
            if os.WIFSTOPPED(status):
                seat.stopped_since = time.monotonic_ns()
            elif hasattr(os, "WIFCONTINUED") and os.WIFCONTINUED(status):
                seat.stopped_since = 0
            else:
                rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
                self._ended(seat, os.waitstatus_to_exitcode(status), rss)

    def _reap_what_others_reaped(self) -> None:
        for seat in self._seats:
            if seat.child is not None and (code := seat.child.exit_code) is not None:
                self._ended(seat, code, 0 if seat.slot is None else seat.slot.rss)

    def _ended(self, seat: Seat, code: int, peak_rss: int) -> None:
        slot, child = seat.slot, seat.child
        assert slot is not None
        assert child is not None
        now = time.monotonic_ns()
        slot.died_at, slot.exit_code, slot.peak_rss = now, code, peak_rss
        slot.oom_kills = max(0, oom_kills() - slot.oom_kills) if code == -signal.SIGKILL and not slot.killed else 0
        self._was_ready = self._was_ready or slot.phase >= Phase.READY
        is_nothing_left = slot.kind == Kind.WARDEN or not slot.executor_id or slot.phase == Phase.ENDED
        slot.state = State.FREE if is_nothing_left else State.DEAD
        self._warden_bell.ring()
        child.buried(code)
        seat.child = seat.slot = None
        seat.close_bell()
        self._plan_restart(seat, slot, code, now)

    def _plan_restart(self, seat: Seat, slot: Slot, code: int, now: int) -> None:
        lived = (now - slot.started_at) / _SECOND
        is_planned = seat.is_told_to_end or slot.phase >= Phase.DRAINING or slot.killed == Killed.ORDER
        delay = 0.0 if is_planned else seat.backoff.after_death(lived)
        seat.restart_at = now + int(delay * _SECOND)
        if self._is_draining and seat.kind != Kind.WARDEN:
            return
        if seat.kind == Kind.WARDEN:
            if not self._board.head.is_over:
                logger.warning("The warden (process %d) %s; another one follows", slot.pid, how_it_ended(slot))
        elif code == exit_codes.NOT_SERVED:
            self._retire(seat)
        elif code >= 0 and code != exit_codes.LATER and not self._was_ready:
            self._give_up()
        elif not seat.is_told_to_end:
            wait_text = f" in {delay:.1f} s" if delay else ""
            logger.warning(
                "%s (process %d) %s; it is replaced%s", seat.name.capitalize(), slot.pid, how_it_ended(slot), wait_text
            )

    def _retire(self, seat: Seat) -> None:
        """The schema serves only newer engines: a new child of this one would be refused as well."""
        seat.is_retired = True
        self._status = exit_codes.NOT_SERVED
        if all(other.is_retired or other.is_empty for other in self._executors):
            self._drain()

    def _give_up(self) -> None:
        """The first child could not even start: neither could another one."""
        logger.error("The program could not be started: the worker ends")
        self._status = 1
        self._drain(is_fast=True)


def _ttl(slot: Slot) -> float:
    place = slot.read_place()
    return _DEFAULT_TTL if place is None else float(place["lease_ttl_seconds"])
