"""One Postgres for the whole run: a URL from the environment, else a container, else a private cluster.

With pytest-xdist all workers share it. The worker that started it owns it and leaves last, so that whatever ends the
server with its owner (a parent-death signal, the container reaper) never ends it under somebody else's test.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from plugins import containers, private_cluster

URL_VARIABLE = "PYENGINE_TEST_DATABASE_URL"
# Insists on one kind: a run that is to prove a path must not quietly take another.
KIND_VARIABLE = "PYENGINE_TEST_SERVER"


class Server(NamedTuple):
    """Where the server of this run is: `url` names the maintenance database of a role that may create databases."""

    url: str
    description: str


@lru_cache(maxsize=1)
def chosen_kind() -> str:
    named = os.environ.get(KIND_VARIABLE)
    if named:
        if named not in ("url", "testcontainers", "embedded"):
            raise pytest.UsageError(f"{KIND_VARIABLE} is {named!r}; it may be url, testcontainers or embedded")
        return named
    if os.environ.get(URL_VARIABLE):
        return "url"
    return "testcontainers" if containers.engine_answers() else "embedded"


def pytest_report_header(config: pytest.Config) -> str:
    return (
        "postgres: "
        + {
            "url": f"the server of {URL_VARIABLE}",
            "testcontainers": f"testcontainers, image {containers.image()}",
            "embedded": f"a private cluster, {private_cluster.describe()}",
        }[chosen_kind()]
    )


@contextmanager
def _started() -> Iterator[Server]:
    kind = chosen_kind()
    if kind == "url":
        yield Server(os.environ[URL_VARIABLE], f"the server of {URL_VARIABLE}")
    elif kind == "testcontainers":
        with containers.running() as url:
            yield Server(url, f"testcontainers {containers.image()}")
    else:
        with private_cluster.running() as url:
            yield Server(url, private_cluster.describe())


@contextmanager
def _shared(folder: Path) -> Iterator[Server]:
    """Use the run's server, starting it if nobody has; its owner waits for the others before it stops it."""
    state = folder / "server.json"
    with (folder / "server.start").open("w") as starting, (folder / "server.users").open("w") as users:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if state.exists():
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield Server(**json.loads(state.read_text()))
            return
        with _started() as server:
            state.write_text(json.dumps(server._asdict()))
            fcntl.flock(starting, fcntl.LOCK_UN)
            try:
                yield server
            finally:
                _wait_for_others(users)
                state.unlink()


def _wait_for_others(users: object, patience_seconds: float = 600) -> None:
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with _shared(folder) as found:
        with psycopg.connect(found.url) as connection:
            connection.execute("select 1")
        yield found


@pytest.fixture(scope="session")
def server_url(server: Server) -> str:
    """URL of the maintenance database of the server of this run."""
    return server.url
