"""Several sessions on one database, and waiting for what really happens between them instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

Connection = psycopg.Connection[Any]


def backend_pid(connection: Connection) -> int:
    return connection.info.backend_pid


def wait_until_blocked(
    observer: Connection, pid: int | Connection, *, by: int | Connection | None = None, timeout_seconds: float = 10
) -> list[int]:
    """Wait until the backend really waits for a lock (of backend `by`, if given); who blocks it is returned."""
    waiting = pid if isinstance(pid, int) else backend_pid(pid)
    expected = backend_pid(by) if isinstance(by, psycopg.Connection) else by
    until = time.monotonic() + timeout_seconds
    while True:
        row = observer.execute("select pg_blocking_pids(%s)", (waiting,)).fetchone()
        blockers: list[int] = row[0] if row else []
        if blockers and (expected is None or expected in blockers):
            return blockers
        if time.monotonic() > until:
            activity = observer.execute(
                "select state, wait_event_type, wait_event, query from pg_stat_activity where pid = %s", (waiting,)
            ).fetchone()
            raise AssertionError(f"backend {waiting} is not blocked after {timeout_seconds} s: {activity}")
        time.sleep(0.002)


def wait_until(condition: Callable[[], Any], *, what: str = "the condition", timeout_seconds: float = 10) -> Any:
    """Poll until the condition returns something true, and return that."""
    until = time.monotonic() + timeout_seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come true within {timeout_seconds} s")
        time.sleep(0.005)


@pytest.fixture
def session_factory(database_url: str) -> Iterator[Callable[..., Connection]]:
    """`session_factory(**psycopg_arguments)`: an autocommit connection to the test's database, closed with the test."""
    opened: list[Connection] = []

    def open_session(**arguments: Any) -> Connection:
        arguments.setdefault("autocommit", True)
        connection = psycopg.connect(database_url, **arguments)
        opened.append(connection)
        return connection

    yield open_session
    for connection in opened:
        connection.close()


@pytest.fixture
def session(session_factory: Callable[..., Connection]) -> Connection:
    """One autocommit connection to the test's database."""
    return session_factory()


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    """`in_background(function, *arguments)`: run something that will block in a thread, and get its future."""
    with ThreadPoolExecutor(max_workers=16, thread_name_prefix="test") as threads:
        yield threads.submit


@pytest.fixture(name="wait_until_blocked")
def _wait_until_blocked() -> Callable[..., list[int]]:
    return wait_until_blocked
