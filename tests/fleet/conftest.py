"""Whole fleets: `pyengine worker` with real processes. Tests wait for facts, never for an amount of time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from plugins.fleet import Facts
from plugins.processes import Processes, Program
from pyengine.serialization import Codec

# What every module of a fleet begins with. `say` prints a line that a test can wait for.
HEAD = """
import os, signal, sys, threading, time
from pyengine import DBOS, Queue, SetWorkflowID

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def wait_for_file(name):
    while not os.path.exists(name):
        time.sleep(0.02)

DBOS(config={
    "name": "test-app",
    "system_database_url": os.environ.get("TEST_URL"),
    "application_version": "v1",
    "lease_ttl_seconds": float(os.environ.get("TEST_TTL", "15")),
    "idle": os.environ.get("TEST_IDLE", "normal"),
})
queue = Queue("work")
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], what: str, timeout_seconds: float = 60) -> None:
    until = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.02)


class Worker:
    """One `pyengine worker` and what the database knows of it."""

    def __init__(self, processes: Processes, database_url: str, facts: Facts) -> None:
        self._processes = processes
        self.database_url = database_url
        self.facts = facts
        self.program: Program

    @property
    def folder(self) -> Path:
        return self._processes.folder

    def write(self, source: str, *, name: str = "app.py", head: str = HEAD) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(head + dedent(source))

    def start(
        self,
        source: str,
        *options: str,
        processes: int = 2,
        ttl: float = 15,
        is_up: bool = True,
        under: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> Program:
        self.write(source)
        self.program = self._processes.run(
            *under, sys.executable, "-m", "pyengine", "worker", "app", "-n", str(processes), *options,
            env={"TEST_URL": self.database_url, "TEST_TTL": str(ttl), **(env or {})},
        )  # fmt: skip
        if is_up:
            self.wait_until_up(processes)
        return self.program

    def wait_until_up(self, processes: int) -> None:
        try:
            wait_until(lambda: len(self.pids()) == processes, f"{processes} executors")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.program.report()}") from None

    def pids(self) -> list[int]:
        """Of the executors that are alive for the database."""
        found: list[int] = self.facts.all(
            "select pid from pyengine.executors where dead_at is null and not is_isolated order by seat"
        )
        return found

    def warden(self) -> int:
        children = Path(f"/proc/{self.program.pid}/task/{self.program.pid}/children").read_text().split()
        return int(next(pid for pid in children if int(pid) not in self.pids()))

    def enqueue(self, workflow_id: str, name: str, *args: Any, queue: str = "work") -> None:
        self.facts.enqueue(workflow_id, name, queue, "v1", Codec().encode_call(args, {}))

    def give_up(self, workflow_id: str) -> None:
        """Cancel what the test left unfinished: the doctor asks who is to run it."""
        self.facts.execute("select pyengine.cancel_workflow(%s)", workflow_id)

    def touch(self, name: str) -> None:
        (self.folder / name).touch()

    def death(self, pid: int) -> Any:
        """(reason, detail) of the executor that this process was."""
        query = "select count(*) from pyengine.executors where pid = %s and handed_over_at is not null"
        self.facts.wait(query, pid)
        return self.facts.all("select dead_reason, dead_detail from pyengine.executors where pid = %s", pid)[0]


@pytest.fixture
def worker(request: pytest.FixtureRequest, database_url: str) -> Iterator[Worker]:
    # The doctor looks after everything that follows has ended.
    request.getfixturevalue("healthy")
    made = Worker(request.getfixturevalue("processes"), database_url, request.getfixturevalue("facts"))
    yield made
    if hasattr(made, "program"):
        print(made.program.report())  # shown when the test failed


is_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
