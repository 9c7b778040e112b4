"""Faults by the dozen on several hosts, and nothing lost, doubled or written by whoever had lost the right to."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins import private_cluster
from plugins.chaos import faults, network
from plugins.chaos.host import Host
from plugins.chaos.load import Load
from plugins.chaos.postgres import Postgres, running
from plugins.chaos.run import Run
from plugins.processes import Processes

TTL = 1.0
# `make soak` sets both; a failed run says which seed it had.
SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 10**6)
LOGS = Path(tempfile.gettempdir()) / f"pyengine-chaos-{SEED}"


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    if private_cluster.binaries() is None:
        pytest.skip(private_cluster.describe())
    with running(standby=True) as made:
        yield made


@pytest.mark.timeout(SECONDS * 2 + 300)
@pytest.mark.parametrize("workers", [0, 2], ids=["programs", "supervised"])
def test_nothing_is_lost_whatever_happens(
    postgres: Postgres, processes: Processes, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    say = _speaker(capsys)
    plan = faults.plan(SEED, SECONDS, hosts=3, ttl=TTL, every=2.5)
    say(f"chaos: seed {SEED}, {SECONDS:g} s, namespaces: {network.has_namespaces()}")

    with network.links(3, postgres.ports, processes.folder) as links:
        hosts = [
            Host(f"host{number}", link, processes, postgres.url_at, ttl=TTL, workers=workers)
            for number, link in enumerate(links)
        ]
        for host in hosts:
            host.add("v1", 1 if workers else 2)
        load = Load(lambda: postgres.url, per_second=8, seed=SEED)
        run = Run(processes.folder, postgres, hosts, load, say)
        run.run(plan, SECONDS)
        run.calm_down(90)
        report = run.check()
        say(str(report))
        if report.problems:
            run.write_logs(LOGS)
            say(f"logs: {LOGS}")
        assert report.problems == [], "\n".join([f"CHAOS_SEED={SEED}", *report.problems[:50]])


def _speaker(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)

    return say
