"""A chaos run: hosts under load, faults by a plan, rest, and the checks."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from plugins.chaos import checks
from plugins.chaos.faults import Fault
from plugins.chaos.host import Host, Slot
from plugins.chaos.load import Acknowledged, Load
from plugins.chaos.postgres import Postgres

_STEP_SECONDS = 0.05


@dataclass
class Report:
    """What happened, for the log of the test."""

    applied: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        facts = "\n".join(f"  {name}: {value}" for name, value in self.facts.items())
        return "\n".join(["faults:", *(f"  {each}" for each in self.applied), "facts:", facts])


class Run:
    """`say` is told what happens as it happens."""

    def __init__(
        self, folder: Path, postgres: Postgres, hosts: Sequence[Host], load: Load, say: Callable[[str], None]
    ) -> None:
        self.postgres = postgres
        self.hosts = list(hosts)
        self.load = load
        self.report = Report()
        self._say = say
        self._began = time.monotonic()
        # (due, what ends a fault), by time.monotonic()
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._version = 1
        self._tend_at = 0.0
        self._folder = folder

    # -- the run -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Hosts first, then the load."""
        self.wait_until_registered()
        self._began = time.monotonic()
        self.load.start()

    def run(self, faults: Sequence[Fault], seconds: float) -> None:
        self.start()
        left = list(faults)
        while left or time.monotonic() < self._began + seconds:
            now = time.monotonic() - self._began
            while left and left[0].at <= now:
                self._apply(left.pop(0))
            self.step()
            time.sleep(_STEP_SECONDS)

    def go_on(self, condition: Callable[[], bool], what: str, timeout_seconds: float = 60) -> None:
        """Under load, until the condition is met."""
        self._wait(condition, timeout_seconds, what)

    def wait_until_registered(self) -> None:
        wanted = sum(slot.is_wanted * host.executors_per_slot for host in self.hosts for slot in host.slots)
        self._wait(lambda: self._registered() >= wanted, 60, f"{wanted} executors are up")

    def step(self) -> None:
        """End the faults that are over, and start what should run."""
        now = time.monotonic()
        due = [end for at, end in self._ends if at <= now]
        self._ends = [(at, end) for at, end in self._ends if at > now]
        for end in due:
            end()
        self._tend_old_versions()
        self.keep()

    def keep(self) -> None:
        for host in self.hosts:
            host.keep()

    def calm_down(self, timeout_seconds: float) -> None:
        """No more faults, no more load: what was begun comes to its end."""
        while self._ends:
            ends, self._ends = self._ends, []
            for _, end in ends:
                end()
        for host in self.hosts:
            host.heal()
        (self._folder / "calm").touch()
        self.load.stop()
        until = time.monotonic() + timeout_seconds
        began = time.monotonic()
        while self._unfinished() and time.monotonic() < until:
            self.step()
            time.sleep(_STEP_SECONDS)
        self.report.facts["seconds to come to rest"] = round(time.monotonic() - began, 1)

    def acknowledged(self) -> dict[str, Acknowledged]:
        """Everything somebody was told is started."""
        found = dict(self.load.acknowledged)
        for program in (each for host in self.hosts for each in host.programs):
            for line in program.stdout:
                if match := re.fullmatch(r"acknowledged (\S+) (\d+)", line):
                    found[match[1]] = Acknowledged(match[1].partition("-")[0], int(match[2]))
        return found

    def write_logs(self, folder: Path) -> None:
        """What every program said, one file each, and the ledger."""
        folder.mkdir(parents=True, exist_ok=True)
        for host in self.hosts:
            for program in host.programs:
                (folder / f"{host.name}-{program.pid}.log").write_text(program.report())
        with psycopg.connect(self.postgres.url) as connection:
            for name in ("ledger.acts", "ledger.effects", "pyengine.executors", "pyengine.in_flight"):
                with connection.cursor().copy(f"copy {name} to stdout with (format csv, header)") as rows:
                    (folder / f"{name}.csv").write_bytes(b"".join(bytes(row) for row in rows))

    def check(self) -> Report:
        acknowledged = self.acknowledged()
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            self.report.problems += checks.problems(connection, acknowledged)
            self.report.facts |= _facts(connection)
        self.report.facts["acknowledged"] = len(acknowledged)
        self.report.facts["refused by their deduplication id"] = len(self.load.deduplicated)
        return self.report

    # -- faults ------------------------------------------------------------------------------------

    def _apply(self, fault: Fault) -> None:
        host = self.hosts[fault.host % len(self.hosts)]
        act = getattr(self, f"_do_{fault.kind}")
        detail = act(fault, host)
        line = f"{fault}  {detail or ''}".rstrip()
        self.report.applied.append(line)
        self._say(line)

    def _later(self, seconds: float, end: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, end))

    @staticmethod
    def _one(fault: Fault, host: Host) -> list[Slot]:
        running = host.running()
        return [running[int(fault.share * len(running))]] if running else []

    @staticmethod
    def _one_process(fault: Fault, host: Host) -> tuple[Slot, int] | None:
        found = [(slot, pid) for slot in host.running() for pid in slot.pids()]
        return found[int(fault.share * len(found))] if found else None

    def _do_kill(self, fault: Fault, host: Host) -> str:
        chosen = self._one_process(fault, host)
        if chosen is None:
            return "nobody"
        host.kill_one(*chosen, back_after=fault.seconds)
        return _process(*chosen)

    def _do_kill_host(self, fault: Fault, host: Host) -> str:
        slots = host.running()
        host.kill(slots, back_after=fault.seconds)
        return _pids(slots)

    def _do_freeze(self, fault: Fault, host: Host) -> str:
        chosen = self._one_process(fault, host)
        if chosen is None:
            return "nobody"
        slot, pid = chosen
        _send(pid, signal.SIGSTOP)
        self._later(fault.seconds, lambda: _send(pid, signal.SIGCONT))
        return _process(slot, pid)

    def _do_freeze_host(self, fault: Fault, host: Host) -> str:
        """As when a virtual machine is paused."""
        slots = host.running()
        host.signal(slots, signal.SIGSTOP)
        self._later(fault.seconds, lambda: host.signal(slots, signal.SIGCONT))
        return _pids(slots)

    def _do_cut(self, fault: Fault, host: Host) -> None:
        host.cut(fault.kind)  # type: ignore[arg-type]
        self._later(fault.seconds, host.link.heal)

    _do_deaf = _do_mute = _do_unplug = _do_cut

    def _do_vanish(self, fault: Fault, host: Host) -> str:
        """Power off: silence first, then death, so that nobody says goodbye."""
        host.cut("cut")
        slots = host.running()
        host.kill(slots, back_after=fault.seconds + 0.1)
        self._later(fault.seconds, host.link.heal)
        return _pids(slots)

    def _do_drain(self, fault: Fault, host: Host) -> str:
        slots = self._one(fault, host)
        host.drain(slots, back_after=fault.seconds)
        return _pids(slots)

    def _do_terminate_backends(self, fault: Fault, host: Host) -> str:
        return f"{self.postgres.terminate_backends(0.2 + 0.8 * fault.share, fault.share)} backends"

    def _do_crash_postgres(self, fault: Fault, host: Host) -> None:
        self.postgres.crash()
        self._later(fault.seconds, self.postgres.start)

    def _do_restart_postgres(self, fault: Fault, host: Host) -> None:
        self.postgres.shut_down()
        self._later(fault.seconds, self.postgres.start)

    def _do_failover(self, fault: Fault, host: Host) -> None:
        """The standby has all that was acknowledged. After a while there is another one."""
        self.postgres.lose_primary()

        def promote() -> None:
            self.postgres.promote()
            self._later(1.0, self.postgres.add_standby)

        self._later(fault.seconds, promote)

    def _do_deploy(self, fault: Fault, host: Host) -> str:
        """Every host gets an executor of the next version; one of the old stays for as long as it has work."""
        (self._folder / f"calm-v{self._version}").touch()
        self._version += 1
        for each in self.hosts:
            each.add(f"v{self._version}")
        return f"v{self._version}"

    def _tend_old_versions(self) -> None:
        """Executors of an old version stay until their work is done, and come back if some is left."""
        if self._version == 1 or time.monotonic() < self._tend_at:
            return
        self._tend_at = time.monotonic() + 1.0
        try:
            with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5) as connection:
                found = connection.execute("select distinct app_version from pyengine.in_flight").fetchall()
        except psycopg.OperationalError:
            return
        needed = {version for (version,) in found} | {f"v{self._version}"}
        for host in self.hosts:
            for slot in host.slots:
                if slot.version not in needed and slot.is_wanted and slot.is_running:
                    host.drain([slot], back_after=None)
                elif slot.version in needed:
                    slot.is_wanted = True

    def _do_skew(self, fault: Fault, host: Host) -> str:
        skew = round((fault.share - 0.5) * 2 * 7200)
        host.skew(skew)
        self._later(fault.seconds, lambda: host.skew(0))
        return f"by {skew} s"

    # -- looking -----------------------------------------------------------------------------------

    def _registered(self) -> int:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            row = connection.execute("select count(*) from pyengine.executors where dead_at is null").fetchone()
        assert row is not None
        return int(row[0])

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not condition():
            self.step()
            if time.monotonic() > until:
                printed = "\n\n".join(s.program.report() for h in self.hosts for s in h.slots if s.program)
                raise AssertionError(f"not in {seconds} s: {what}\n{printed}")
            threading.Event().wait(_STEP_SECONDS)

    def _unfinished(self) -> int:
        try:
            with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5) as connection:
                row = connection.execute(
                    "select count(*) from pyengine.in_flight as f join pyengine.workflows as w using (workflow_id)"
                    " where not (w.name = 'every_second' and w.created_at > clock_timestamp() - interval '3 seconds')"
                ).fetchone()
        except psycopg.OperationalError:
            return 1
        assert row is not None
        return int(row[0])


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _process(slot: Slot, pid: int) -> str:
    first = slot.program is not None and pid == slot.program.pid
    return f"pid {pid} ({slot.version}{'' if first else ', forked'})"


def _pids(slots: Sequence[Slot]) -> str:
    return " ".join(f"pid {slot.program.pid} ({slot.version})" for slot in slots if slot.program is not None)


def _facts(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    def one(query: str) -> Any:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    return {
        "workflows": one("select count(*) from pyengine.workflows"),
        "checkpoints": one("select count(*) from pyengine.checkpoints"),
        "effects": one("select count(*) from ledger.effects"),
        "claims": one("select count(*) from ledger.acts where act = 'claim'"),
        "workflows claimed more than once": one(
            "select count(*) from (select from ledger.acts where act = 'claim' group by workflow_id"
            " having count(*) > 1) as x"
        ),
        "executors": one("select count(*) from pyengine.executors"),
        "deaths": dict(
            Counter(
                reason.split()[0] if reason.startswith("process") else reason
                for (reason,) in connection.execute(
                    "select dead_reason from pyengine.executors where dead_reason is not null"
                )
            )
        ),
        "crashes counted": one("select sum(crashes) from pyengine.outcomes"),
    }
