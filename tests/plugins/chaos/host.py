"""Hosts: each has a link to Postgres, a clock, and programs that are started again when they end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plugins.chaos.network import Cut, Link
from plugins.processes import Processes, Program

HERE = Path(__file__).parent
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def command(program: Path, workers: int) -> tuple[str, ...]:
    """Of a program on its own, or of so many processes of it under a supervisor."""
    if not workers:
        return (sys.executable, "-u", program.name)
    options = ("--processes", str(workers), "--grace", "10")
    return (sys.executable, "-u", "-m", "pyengine", "worker", program.stem, *options)


@dataclass
class Slot:
    """A program of a host that is kept running, as systemd would."""

    version: str
    program: Program | None = None
    is_wanted: bool = True
    # Not before this (monotonic): a killed one stays away for a while.
    not_before: float = 0.0
    ended: list[tuple[int, str]] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        return self.program is not None and self.program.process.poll() is None

    def pids(self) -> list[int]:
        """Of the program and what it forked: under a supervisor its warden and its executors."""
        if self.program is None or not self.is_running:
            return []
        pid = self.program.pid
        with contextlib.suppress(OSError):
            return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        return []


class Host:
    """Its programs run `program` in the folder of the run: on their own, or so many `workers` under a supervisor."""

    def __init__(
        self,
        name: str,
        link: Link,
        processes: Processes,
        url: Callable[[str, tuple[int, ...]], str],
        *,
        ttl: float,
        program: Path = HERE / "work.py",
        workers: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.link = link
        self.slots: list[Slot] = []
        self.programs: list[Program] = []
        self._processes = processes
        self._url = url
        self._ttl = ttl
        self.executors_per_slot = workers or 1
        self._command = command(program, workers)
        self.environment = dict(environment or {})
        self._clock = processes.folder / f"clock-{name}"
        self._skew = 0.0
        shutil.copy(program, processes.folder / program.name)

    # -- programs ----------------------------------------------------------------------------------

    def add(self, version: str, count: int = 1) -> list[Slot]:
        made = [Slot(version) for _ in range(count)]
        self.slots += made
        return made

    def keep(self) -> None:
        """Start what should run and does not. Called again and again."""
        for slot in self.slots:
            if slot.program is not None and not slot.is_running and slot.not_before == 0.0:
                # Ended by itself: after a second again, and what it said is kept for the report.
                status = slot.program.process.returncode
                slot.ended.append((status, "\n".join(slot.program.stderr[-15:])))
                slot.not_before = time.monotonic() + 1.0
            if slot.is_wanted and not slot.is_running and time.monotonic() >= slot.not_before:
                slot.not_before = 0.0
                slot.program = self._start(slot)

    def _start(self, slot: Slot) -> Program:
        environment = {
            "CHAOS_HOST": self.name,
            "CHAOS_URL": self._url(self.link.address, self.link.ports),
            "CHAOS_TTL": str(self._ttl),
            "CHAOS_VERSION": slot.version,
            **self._clock_environment(),
            **self.environment,
        }
        program = self._processes.run(*self.link.command(*self._command), env=environment)
        self.programs.append(program)
        return program

    def running(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.is_running]

    def signal(self, slots: Sequence[Slot], number: int, *, to_group: bool = True) -> None:
        for slot in slots:
            if slot.program is not None and slot.is_running:
                with contextlib.suppress(ProcessLookupError):
                    (os.killpg if to_group else os.kill)(slot.program.pid, number)

    def kill(self, slots: Sequence[Slot], *, back_after: float) -> None:
        """kill -9 of all their processes, whatever state they are in."""
        for slot in slots:
            slot.not_before = time.monotonic() + back_after
        self.signal(slots, signal.SIGKILL)
        for slot in slots:
            if slot.program is not None:
                slot.program.process.wait(10)

    def kill_one(self, slot: Slot, pid: int, *, back_after: float) -> None:
        """kill -9 of one process of a program. If that was its first one, the others are left to find out."""
        if slot.program is not None and pid == slot.program.pid:
            slot.not_before = time.monotonic() + back_after
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def drain(self, slots: Sequence[Slot], *, back_after: float | None) -> None:
        """SIGTERM; None: they do not come back."""
        for slot in slots:
            slot.is_wanted = back_after is not None
            slot.not_before = time.monotonic() + (back_after or 0.0)
        self.signal(slots, signal.SIGTERM, to_group=False)

    # -- link and clock ----------------------------------------------------------------------------

    def cut(self, how: Cut) -> None:
        self.link.cut(how)

    def heal(self) -> None:
        self.link.heal()
        self.signal(self.slots, signal.SIGCONT)

    def skew(self, seconds: float) -> None:
        """Its clock steps. Without libfaketime: that of the programs started from now on."""
        self._skew = seconds
        self._write_clock()

    def _write_clock(self) -> None:
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{self._skew:+f}\n")
        fresh.replace(self._clock)

    def _clock_environment(self) -> dict[str, str]:
        if FAKETIME is None:
            return {"CHAOS_SKEW": str(self._skew)}
        self._write_clock()
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
