"""What a measurement stands on: a server, its settings, fresh databases, and what the server has used so far."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bench import report
from bench.figures import Figure
from bench.program import call
from bench.systems import System

# The server that the suite starts: durable as in production, with room so that checkpoints do not fall into a cell.
SETTINGS = (
    "fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=4GB",
    "max_connections=300", "jit=off",
)  # fmt: skip
RECORDED = (
    "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_wal_size",
    "max_connections", "commit_delay", "autovacuum", "jit",
)  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How long each cell runs. `tiny` only shows that everything runs."""

    name: str
    seconds: float
    blocks: int  # of 20 calls
    latencies: int
    pause: float  # between those, seconds
    executors: tuple[int, ...]
    backlogs: tuple[int, ...]
    history: int
    claims: int
    limited: int
    held: int  # workflows that go while a snapshot is held


TINY = Scale("tiny", 0.2, 1, 3, 0.02, (1,), (0, 1000), 500, 3, 40, 300)
QUICK = Scale("quick", 1.2, 15, 40, 0.05, (1, 2, 4), (0, 100_000), 100_000, 20, 2000, 40_000)
FULL = Scale("full", 5.0, 60, 150, 0.12, (1, 2, 4), (0, 100_000, 1_000_000), 5_000_000, 50, 5000, 200_000)


@dataclass
class Stage:
    url: str
    scale: Scale
    is_own_server: bool
    about: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)  # by system: a database with its schema

    @contextmanager
    def database(self, system: System | None = None) -> Iterator[str]:
        """A fresh database, with the system's schema."""
        name = self._create(None if system is None else self._template(system))
        try:
            yield with_database(self.url, name)
        finally:
            self._drop(name)

    def close(self) -> None:
        while self.templates:
            self._drop(self.templates.popitem()[1])

    def _template(self, system: System) -> str:
        if system.name not in self.templates:
            name = self._create(None)
            try:
                call(system, "install", with_database(self.url, name))
            except BaseException:
                self._drop(name)
                raise
            self.templates[system.name] = name
        return self.templates[system.name]

    def _create(self, template: str | None) -> str:
        name = f"bench_{secrets.token_hex(4)}"
        statement = sql.SQL("create database {} template {}").format(
            sql.Identifier(name), sql.Identifier(template or "template1")
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)
        return name

    def _drop(self, name: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def add(self, *figures: Figure) -> None:
        self.figures += figures
        for figure in figures:
            print(f"  {figure.line()}", file=sys.stderr, flush=True)

    def usage(self) -> Usage:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn, pg_backend_pid()").fetchone()
            assert row is not None
            return Usage(int(row[0]), _server_cpu(int(row[1])) if self.is_own_server else None)


@dataclass(frozen=True)
class Usage:
    wal: int
    cpu: float | None


def _server_cpu(backend: int) -> float | None:
    """Seconds of processor time of the server and all it ever started. Only where /proc tells."""
    try:
        server = int(_stat(backend)[1])
        ticks = sum(int(each) for each in _stat(server)[11:15])  # with those that ended
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    except (OSError, IndexError, ValueError):
        return None
    for child in children:
        try:
            ticks += sum(int(each) for each in _stat(int(child))[11:13])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields after the command's name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def with_database(url: str, name: str) -> str:
    """In the form of a URL, which every peer understands."""
    from urllib.parse import quote, urlsplit, urlunsplit

    if "://" in url:
        parts = urlsplit(url)
        return urlunsplit(parts._replace(path=f"/{quote(name)}"))
    given = conninfo_to_dict(url)
    user = quote(str(given.get("user", "")), safe="")
    password = quote(str(given.get("password", "")), safe="")
    return f"postgresql://{user}:{password}@{given.get('host', 'localhost')}:{given.get('port', 5432)}/{quote(name)}"


def place(url: str) -> tuple[str, int]:
    """Host and port of the server, the first if there are several."""
    given = conninfo_to_dict(url)
    return str(given.get("host") or "localhost").split(",")[0], int(str(given.get("port") or 5432).split(",")[0])


def at(url: str, host: str, port: int) -> str:
    """The same database by another way."""
    from urllib.parse import quote

    given = conninfo_to_dict(url)
    user, password = (quote(str(given.get(name) or ""), safe="") for name in ("user", "password"))
    return f"postgresql://{user}:{password}@{host}:{port}/{quote(str(given.get('dbname', '')))}"


def pgbench() -> str | None:
    """Beside the binaries of a server, or on the path; a version that differs from the server's works too."""
    found = _whole_postgres()
    if found is not None:
        return str(found / "pgbench")
    on_path = shutil.which("pgbench")
    works = on_path and subprocess.run([on_path, "--version"], capture_output=True).returncode == 0
    return on_path if works else None


def _whole_postgres() -> Path | None:
    """An installed one with all its programs and extensions: the wheels have no pgbench and lack what a peer needs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def stage(scale: Scale) -> Iterator[Stage]:
    """PYENGINE_BENCH_DATABASE_URL (a role that may create databases), else a server that the suite starts."""
    url = os.environ.get("PYENGINE_BENCH_DATABASE_URL")
    if url:
        with closing(Stage(url, scale, False, describe(url, scale, "PYENGINE_BENCH_DATABASE_URL"))) as made:
            yield made
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from plugins.private_cluster import cluster

    if (whole := _whole_postgres()) and (whole / "initdb").exists():
        os.environ.setdefault("PYENGINE_TEST_POSTGRES_BIN", str(whole))
    _keep_off_memory()
    with cluster(*SETTINGS) as own:
        yield Stage(own.url, scale, True, describe(own.url, scale, "started by the suite, on loopback TCP"))


def _keep_off_memory() -> None:
    """An fsync of a file system in memory measures nothing."""
    mounts = [line.split() for line in _read("/proc/mounts").splitlines()]
    kinds = {words[1]: words[2] for words in mounts if len(words) > 2}
    if kinds.get(tempfile.gettempdir()) in ("tmpfs", "ramfs") and os.access("/var/tmp", os.W_OK):
        tempfile.tempdir = "/var/tmp"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def describe(url: str, scale: Scale, origin: str) -> dict[str, Any]:
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "scale": scale.name,
        "machine": {**report.machine(), "load_at_start": [round(each, 1) for each in load]},
        "server": {"origin": origin, **report.server(url, *RECORDED)},
    }
