"""Postgres in a container, through testcontainers, wherever a Docker engine answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=200", "max_prepared_transactions=4")


def image() -> str:
    return os.environ.get("PYENGINE_TEST_IMAGE", "postgres:17")


def engine_answers() -> bool:
    if not _somebody_listens(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"):
        return False
    try:
        import docker
    except ImportError:
        return False
    client = docker.from_env(timeout=5)
    try:
        return bool(client.ping())
    except Exception:  # no right to it, or not an engine: both mean that there is none for us
        return False
    finally:
        client.close()


def _somebody_listens(address: str) -> bool:
    """Asked before the client library, which leaks a socket when nobody does (and a warning is an error here)."""
    if not address.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix("unix://"))
        except OSError:
            return False
    return True


def _container_class() -> Any:
    try:
        from testcontainers.community.postgres import PostgresContainer
    except ImportError:  # before testcontainers 4.15
        from testcontainers.postgres import PostgresContainer
    return PostgresContainer


@contextmanager
def running() -> Iterator[str]:
    command = " ".join(["postgres", *(f"-c {setting}" for setting in SETTINGS)])
    container = _container_class()(image(), driver=None, dbname="postgres", username="postgres", password="pyengine")
    with container.with_command(command) as started:
        yield started.get_connection_url()
