"""A real PgBouncer in transaction mode in front of a server, as a distribution packages it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from plugins.private_cluster import end_with_parent, ordinary_user

# Each transaction of a client gets another session of the server than the one before, as far as there are several:
# what depends on the session breaks at once and not now and then. Start-up parameters of the client are not ignored.
CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
min_pool_size = {sessions}
server_round_robin = 1
server_login_retry = 1
max_client_conn = 200
logfile = {folder}/pgbouncer.log
"""


class Pooler:
    def __init__(self, folder: Path, server_url: str, sessions: int) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        given = {key: str(value) for key, value in conninfo_to_dict(server_url).items() if value is not None}
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                host=given.get("host", "127.0.0.1"), port=given.get("port", "5432"), user=given.get("user", ""),
                password=given.get("password", "''"), listen_port=self.port, sessions=sessions, folder=folder,
            )
        )  # fmt: skip
        program, libraries = _program()
        identity: dict[str, Any] = {}
        user = ordinary_user()
        if user is not None:
            identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (folder, configuration):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._command = [program, configuration]
        self._settings: dict[str, Any] = {**identity, "env": {**os.environ, "LD_LIBRARY_PATH": libraries}}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self._folder,
                start_new_session=True, preexec_fn=end_with_parent, **self._settings,
            )  # fmt: skip
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PgBouncer did not start:\n{(self._folder / 'output').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """At once: every client loses its connection."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def url(self, database_url: str) -> str:
        """The same database, through this pooler."""
        name = conninfo_to_dict(database_url)["dbname"]
        return f"postgresql://somebody@127.0.0.1:{self.port}/{name}"


@contextmanager
def pooler(server_url: str, *, sessions: int = 6) -> Iterator[Pooler]:
    folder = Path(tempfile.mkdtemp(prefix="pyengine-test-"))
    made = Pooler(folder, server_url, sessions)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=1)
def _program() -> tuple[str, str]:
    """The program and where its libraries are: the installed one, else out of the distribution's package."""
    search = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    if found := shutil.which("pgbouncer", path=search):
        return found, os.environ.get("LD_LIBRARY_PATH", "")
    folder = Path(tempfile.gettempdir()) / f"pyengine-test-pgbouncer-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    program = folder / "unpacked/usr/sbin/pgbouncer"
    with (folder / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not program.exists():
            _unpack(folder)
    libraries = {str(path.parent) for path in (folder / "unpacked").rglob("*.so.*")}
    return str(program), os.pathsep.join(sorted(libraries))


def _unpack(folder: Path) -> None:
    """Fetch the package and what it needs that is not installed. No right to install anything is needed for that."""
    plan = _run(folder, "apt-get", "install", "--simulate", "--no-install-recommends", "pgbouncer", may_fail=True)
    if "Inst pgbouncer" not in plan and os.geteuid() == 0:
        _run(folder, "apt-get", "update", "-qq")
        plan = _run(folder, "apt-get", "install", "--simulate", "--no-install-recommends", "pgbouncer", may_fail=True)
    packages = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    if "pgbouncer" not in packages:
        pytest.fail(f"PgBouncer is neither installed nor to be had from the distribution:\n{plan}")
    _run(folder, "apt-get", "download", "-qq", *packages)
    for package in folder.glob("*.deb"):
        _run(folder, "dpkg-deb", "--extract", str(package), str(folder / "half"))
    (folder / "half").chmod(0o755)
    (folder / "half").rename(folder / "unpacked")


def _run(folder: Path, *command: str, may_fail: bool = False) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode and not may_fail:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def spread(url: str, sessions: int = 4) -> None:
    """Have the pooler open so many sessions, and see that a client's transactions go round over them."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(psycopg.connect(url, prepare_threshold=None)) for _ in range(sessions)]
        for client in clients:
            client.execute("select 1")  # in a transaction that stays open until all have one
        for client in clients:
            client.rollback()
        clients[0].autocommit = True
        met = {clients[0].execute("select pg_backend_pid()").fetchone() for _ in range(3 * sessions)}
    assert len(met) >= sessions, "the pooler does not change sessions between transactions"


@pytest.fixture(scope="session")
def pgbouncer(server_url: str) -> Iterator[Pooler]:
    """A pooler in front of the run's server."""
    with pooler(server_url) as made:
        yield made


@pytest.fixture
def pooled_url(pgbouncer: Pooler, database_url: str) -> str:
    """The test's database, through PgBouncer in transaction mode."""
    url = pgbouncer.url(database_url)
    spread(url)
    return url


@pytest.fixture
def new_pooler() -> Callable[..., AbstractContextManager[Pooler]]:
    """For tests that stop it: `with new_pooler(server_url) as pooler`."""
    return pooler
