"""A stage for chaos: a Postgres of its own, hosts, load, and what is said goes to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plugins import private_cluster
from plugins.chaos import network
from plugins.chaos.host import Host
from plugins.chaos.load import Load
from plugins.chaos.postgres import Postgres, running
from plugins.chaos.run import Report, Run
from plugins.processes import Processes


class Stage:
    """Makes runs. Every one must end with `in_good_order`."""

    def __init__(self, processes: Processes, say: Callable[[str], None]) -> None:
        self.processes = processes
        self.say = say

    @contextmanager
    def run(
        self, *, hosts: int, workers: int = 0, ttl: float, per_second: float, seed: int = 1, standby: bool = False
    ) -> Iterator[Run]:
        folder = self.processes.folder
        with running(standby=standby) as postgres, network.links(hosts, postgres.ports, folder) as links:
            made = [self.host(f"host{number}", link, postgres, ttl, workers) for number, link in enumerate(links)]
            load = Load(lambda: postgres.url, per_second=per_second, seed=seed)
            yield Run(folder, postgres, made, load, self.say)

    def host(self, name: str, link: network.Link, postgres: Postgres, ttl: float, workers: int) -> Host:
        return Host(name, link, self.processes, postgres.url_at, ttl=ttl, workers=workers)

    def in_good_order(self, run: Run, logs: Path, note: str = "") -> Report:
        """Everything comes to its end, and nothing is wrong."""
        run.calm_down(90)
        report = run.check()
        self.say(str(report))
        if report.problems:
            run.write_logs(logs)
            self.say(f"logs: {logs}")
        assert report.problems == [], "\n".join([note, *report.problems[:50]])
        return report


@pytest.fixture
def stage(processes: Processes, capsys: pytest.CaptureFixture[str]) -> Stage:
    if private_cluster.binaries() is None:
        pytest.skip(private_cluster.describe())

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)

    return Stage(processes, say)
