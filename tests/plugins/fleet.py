"""Several executors on one database: programs that share their functions, started and killed as processes."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest

from plugins.executors import rows
from plugins.processes import Processes, Program

# What every program of a fleet begins with. `say` prints a line that a test can wait for.
HEAD = """
import os, sys, threading, time
from pyengine import DBOS, Queue, SetEnqueueOptions, SetWorkflowID

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

DBOS(config={
    "name": "test-app",
    "system_database_url": os.environ["TEST_URL"],
    "application_version": os.environ.get("TEST_VERSION") or None,
    "lease_ttl_seconds": float(os.environ.get("TEST_TTL", "15")),
})
"""
TAIL = """
DBOS.launch()
say("up", os.getpid())
threading.Event().wait()
"""


class Fleet:
    """Starts processes that run the same functions. They end with the test."""

    def __init__(self, processes: Processes, database_url: str) -> None:
        self._processes = processes
        self.database_url = database_url
        self._functions = ""
        self._names = iter(range(1, 1000))

    def define(self, functions: str) -> None:
        self._functions = dedent(functions)

    @property
    def folder(self) -> Path:
        """Where the programs run: what they all see."""
        return self._processes.folder

    def start(self, *, version: str = "", ttl: float = 15, after_launch: str = "", is_up: bool = True) -> Program:
        """One more process; `is_up`: wait until it has launched and done what comes `after_launch`."""
        tail = TAIL.replace("threading.Event", dedent(after_launch) + "\nthreading.Event")
        program = self._processes.start(
            HEAD + self._functions + tail,
            name=f"member_{next(self._names)}.py",
            env={"TEST_URL": self.database_url, "TEST_VERSION": version or "v1", "TEST_TTL": str(ttl)},
        )
        if is_up:
            program.wait_for_line(r"^up ")
        return program


def said(program: Program, pattern: str) -> list[re.Match[str]]:
    """What the program has said so far that matches."""
    return [found for line in program.stdout if (found := re.search(pattern, line))]


class Facts:
    """What the database says."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def one(self, query: str, *arguments: Any) -> Any:
        row = self._connection.execute(query, arguments).fetchone()
        return None if row is None else row[0]

    def all(self, query: str, *arguments: Any) -> list[Any]:
        return [row[0] if len(row) == 1 else row for row in self._connection.execute(query, arguments).fetchall()]

    def execute(self, statement: str, *arguments: Any) -> None:
        self._connection.execute(statement, arguments)

    def enqueue(self, workflow_id: str, name: str, queue: str, version: str | None, inputs: bytes) -> None:
        """Put a workflow on a queue as a client does that knows only names."""
        names = (
            "executor_id", "nonce", "class_name", "config_name", "partition_key", "priority", "deduplication_id",
            "delay", "timeout", "deadline", "max_recovery_attempts", "attributes", "authenticated_user", "assumed_role",
            "authenticated_roles", "schedule_name", "parent_id", "parent_fence", "parent_step_id",
        )  # fmt: skip
        given: dict[str, Any] = {"start_token": secrets.randbits(63), "workflow_id": workflow_id, "name": name}
        given |= {"application": "test-app", "app_version": version, "inputs": inputs, "queue": queue}
        found = rows(self._connection, "enqueue_workflow", **dict.fromkeys(names), **given)
        assert found[0]["verdict"] == "yours", found

    def status(self, workflow_id: str) -> str | None:
        found: str | None = self.one("select status from pyengine.workflow_status where workflow_id = %s", workflow_id)
        return found

    def unfinished(self) -> int:
        found: int = self.one("select count(*) from pyengine.in_flight")
        return found

    def wait(self, query: str, *arguments: Any, timeout_seconds: float = 60) -> Any:
        """Wait until the query's first value is true, and return it."""
        until = time.monotonic() + timeout_seconds
        while not (found := self.one(query, *arguments)):
            assert time.monotonic() < until, f"not true in {timeout_seconds} s: {query}"
            time.sleep(0.02)
        return found

    def wait_for(self, workflow_id: str, *statuses: str, timeout_seconds: float = 60) -> None:
        query = "select exists (select from pyengine.workflow_status where workflow_id = %s and status = any (%s))"
        self.wait(query, workflow_id, list(statuses or ("SUCCESS",)), timeout_seconds=timeout_seconds)


@pytest.fixture
def fleet(database_url: str, processes: Processes) -> Fleet:
    return Fleet(processes, database_url)


@pytest.fixture
def facts(database_url: str, session_factory: Callable[..., psycopg.Connection[Any]]) -> Facts:
    return Facts(session_factory())
