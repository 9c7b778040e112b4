"""From the death of whoever runs a workflow to its next step somewhere else."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import report

# The hosts and the server are the ones of the chaos tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

PROGRAM = Path(__file__).with_name("takeover_work.py")


@dataclass(frozen=True)
class Scenario:
    name: str
    what: str
    aim_seconds: float
    workers: int  # 0: plain programs
    hosts: int
    workflow: str = "holding"


def scenarios(ttl: float) -> list[Scenario]:
    return [
        Scenario("child", "kill -9 of an executor under a supervisor", 0.1, workers=2, hosts=1),
        Scenario("supervisor", "kill -9 of a supervisor, another host goes on", 2.5, workers=1, hosts=2),
        Scenario("supervised host", "kill -9 of a supervisor and all it forked", 2.5, workers=1, hosts=2),
        Scenario("process", "kill -9 of a program on its own", 2.5, workers=0, hosts=2),
        Scenario("vanished", "silence, as from a host without power", ttl + 2, workers=0, hosts=2),
        Scenario("drain", "SIGTERM of a supervisor in the middle of short steps", 0.2, workers=1, hosts=2,
                 workflow="ticking"),
    ]  # fmt: skip


class Stage:
    """Hosts of one scenario on one server. A round: a workflow is begun, its owner dies, another goes on."""

    def __init__(self, scenario: Scenario, folder: Path, ttl: float) -> None:
        self.scenario = scenario
        self.folder = folder
        self.ttl = ttl
        self.hosts: list[Any] = []
        self.postgres: Any = None

    @contextmanager
    def up(self) -> Iterator[Stage]:
        from plugins.chaos import network
        from plugins.chaos.host import Host
        from plugins.chaos.postgres import running
        from plugins.processes import Processes

        processes = Processes(self.folder)
        with running() as postgres, network.links(self.scenario.hosts, postgres.ports, self.folder) as links:
            self.postgres = postgres
            try:
                for number, link in enumerate(links):
                    host = Host(
                        f"host{number}", link, processes, postgres.url_at,
                        ttl=self.ttl, program=PROGRAM, workers=self.scenario.workers,
                    )  # fmt: skip
                    host.add("v1")
                    self.hosts.append(host)
                yield self
            finally:
                processes.close()

    # -- a round -----------------------------------------------------------------------------------

    def measure(self) -> float:
        self._settle()
        name = secrets.token_hex(4)
        self._enqueue(name)
        word = "tick" if self.scenario.workflow == "ticking" else "held"
        owner, pid, _ = self._heard(rf"^{word} {name} (\S+) (\d+)")
        if word == "tick":
            time.sleep(0.3)
        died = time.monotonic()
        self._die(owner, pid)
        after = "tick" if self.scenario.workflow == "ticking" else "again"
        _, _, began = self._heard(rf"^{after} {name} (\S+) (\d+)", not_by=pid, patience=self.ttl * 5 + 30)
        (self.folder / f"enough-{name}").touch()
        owner.link.heal()
        return began - died

    def _die(self, owner: Any, pid: int) -> None:
        slot = owner.slots[0]
        kind = self.scenario.name
        if kind == "child":
            os.kill(pid, signal.SIGKILL)
        elif kind == "supervisor":
            os.kill(slot.program.pid, signal.SIGKILL)
        elif kind == "drain":
            owner.drain([slot], back_after=0.5)
        elif kind == "vanished":
            owner.cut("cut")
            owner.kill([slot], back_after=self.ttl * 6)
        else:
            owner.kill([slot], back_after=0.5)

    def _settle(self) -> None:
        """Everybody is there, nobody is dying, and nothing is left to do."""
        wanted = len(self.hosts) * max(1, self.scenario.workers)
        until = time.monotonic() + 120
        for host in self.hosts:
            for slot in host.slots:
                slot.not_before = min(slot.not_before, time.monotonic() + 0.2)
        while True:
            for host in self.hosts:
                host.keep()
            facts = self._ask(
                "select (select count(*) from pyengine.executors where dead_at is null and lease_expires_at > now()),"
                " (select count(*) from pyengine.executors where handed_over_at is null),"
                " (select count(*) from pyengine.in_flight)"
            )
            if facts == (wanted, wanted, 0):
                break
            if time.monotonic() > until:
                said = "\n".join(p.report() for host in self.hosts for p in host.programs[-2:])
                raise RuntimeError(f"the fleet does not settle: {facts}, {wanted} wanted\n{said}")
            time.sleep(0.05)
        time.sleep(1.5 + secrets.randbelow(1000) / 1000)  # idle, and at any point of everybody's second

    def _heard(self, pattern: str, *, not_by: int | None = None, patience: float = 60.0) -> tuple[Any, int, float]:
        until = time.monotonic() + patience
        while time.monotonic() < until:
            for host in self.hosts:
                for program in host.programs:
                    for line in program.stdout:
                        found = re.match(pattern, line)
                        if found and int(found[2]) != not_by:
                            return host, int(found[2]), float(found[1])
            time.sleep(0.01)
        said = "\n".join(p.report() for host in self.hosts for p in host.programs[-2:])
        raise RuntimeError(f"not said in {patience} s: {pattern}\n{said}")

    def _ask(self, query: str) -> tuple[Any, ...]:
        import psycopg

        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row

    def _enqueue(self, name: str) -> None:
        import psycopg

        from pyengine.db import calls
        from pyengine.db.function import statement
        from pyengine.serialization import Codec

        arguments: dict[str, Any] = {each: None for each, _ in calls.enqueue_workflow.arguments}
        arguments |= {
            "start_token": secrets.randbits(63), "workflow_id": name, "name": self.scenario.workflow,
            "application": "chaos", "inputs": Codec().encode_call((name,), {}), "queue": "work",
        }  # fmt: skip
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(statement(calls.enqueue_workflow, "pyengine"), calls.enqueue_workflow.bind(arguments))


def takeover(
    rounds: Annotated[int, typer.Option(help="How often each death is died.")] = 20,
    ttl: Annotated[float, typer.Option(help="The lease, in seconds. The default of the engine is 15.")] = 5.0,
    only: Annotated[list[str] | None, typer.Option(help="Only these scenarios.")] = None,
) -> None:
    """Time from a death to the next step of its workflow elsewhere."""
    results: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for scenario in scenarios(ttl):
        if only and scenario.name not in only:
            continue
        with (
            tempfile.TemporaryDirectory(prefix="pyengine-bench-") as folder,
            Stage(scenario, Path(folder), ttl).up() as stage,
        ):
            described = described or report.server(stage.postgres.url, "fsync", "synchronous_commit")
            taken = []
            for number in range(rounds):
                taken.append(stage.measure())
                with contextlib.suppress(OSError):
                    print(f"{scenario.name:<16} {number + 1:3d}  {taken[-1]:7.3f} s", file=sys.stderr, flush=True)
        results[scenario.name] = {
            "what": scenario.what,
            "p50": round(report.quantile(taken, 0.5), 3),
            "p99": round(report.quantile(taken, 0.99), 3),
            "aim_p99": scenario.aim_seconds,
            "rounds": [round(each, 3) for each in taken],
        }
    about = {"machine": report.machine(), "server": described, "settings": {"lease_ttl_seconds": ttl, "rounds": rounds}}
    _print(results, about)
    if not only:
        print(report.write("takeover", {**about, "seconds": results}))


def _print(results: dict[str, Any], about: dict[str, Any]) -> None:
    machine, server = about["machine"], about["server"]
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}")
    print(f"{machine['system']}, Python {machine['python']}")
    print(f"Postgres {server.get('postgres')}, {about['settings']}")
    print(f"{'':<16} {'p50':>8} {'p99':>8} {'aim':>8}")
    for name, row in results.items():
        verdict = "" if row["p99"] <= row["aim_p99"] else "  missed"
        print(f"{name:<16} {row['p50']:>6.3f} s {row['p99']:>6.3f} s {row['aim_p99']:>6.1f} s{verdict}  {row['what']}")
