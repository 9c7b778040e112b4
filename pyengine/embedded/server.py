"""What the engine sees of the embedded server: start it or join it, its address, let go of it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ..errors import DBOSInitializationError
from . import binaries, home, locks
from .home import Home
from .problems import ServerProblem

START_SECONDS = 120.0  # crash recovery may take a while; a keeper that fails says so much sooner
REMOVE_SECONDS = 10.0
KEEPER_LOG_BYTES = 256 * 1024
NOT_ON_WINDOWS = (
    "the embedded Postgres does not run on Windows: set DBOS_SYSTEM_DATABASE_URL to a Postgres of your own "
    "(postgresql://user:password@localhost:5432/name)"
)


class EmbeddedUnavailable(DBOSInitializationError):
    """The embedded Postgres cannot run here; the message says why and what to do, in one line."""


@dataclass
class _Use:
    """This process's use of one home: one lock, however many times it was started."""

    home: Home
    count: int = 0
    lock: locks.Lock | None = None
    guard: threading.Lock = field(default_factory=threading.Lock)


_uses: dict[Path, _Use] = {}
_uses_guard = threading.Lock()


class EmbeddedServer:
    """A running private Postgres. It runs at least until `release`, or the end of this process."""

    def __init__(self, use: _Use, facts: dict[str, object], password: str) -> None:
        self._use: _Use | None = use
        self._facts = facts
        self._password = password
        self._home = use.home
        self._process = os.getpid()

    @property
    def url(self) -> str:
        """libpq URI of the database `postgres`, as superuser. Holds the password."""
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """libpq URI of a database of this server, which need not exist yet. The same after every restart."""
        host = quote(str(self._facts["sockets"]), safe="/")
        return (
            f"postgresql://{self._facts['user']}:{quote(self._password, safe='')}@/{quote(name, safe='')}"
            f"?host={host}&port={self._facts['port']}"
        )

    @property
    def description(self) -> str:
        """One line for the log, without the password."""
        return f"embedded Postgres {self._facts['version']} in {self._home.folder}"

    @property
    def data_folder(self) -> Path:
        """Where the data are: as root not in `.pyengine/`."""
        return Path(str(self._facts["data"]))

    def ensure(self) -> None:
        """Bring the server back, at the same address, should its keeper have been killed. Cheap when it runs."""
        if self._use is None:
            raise EmbeddedUnavailable(f"{self.description} was released")
        try:
            if self._process != os.getpid():  # forked: this process is a user of its own from here on
                self._use, self._process = _enter(home.prepare(self._home.folder.parent)), os.getpid()
            self._facts = _join(self._use)
        except ServerProblem as problem:
            raise EmbeddedUnavailable(str(problem)) from None

    def release(self) -> None:
        """This use is over. The server stops a moment after the last one in any process. Safe to repeat."""
        use, self._use = self._use, None
        if use is not None and self._process == os.getpid():
            _leave(use)


def start(folder: Path) -> EmbeddedServer:
    """Start the private Postgres of the project in `folder`, or join it when it runs already.

    Any number of processes and threads may do this at once; they all get the same server.
    """
    if sys.platform == "win32":
        raise EmbeddedUnavailable(NOT_ON_WINDOWS)
    try:
        where = home.prepare(folder)
        use = _enter(where)
        try:
            facts = _join(use)
            return EmbeddedServer(use, facts, where.password_file.read_text())
        except BaseException:
            _leave(use)
            raise
    except ServerProblem as problem:
        raise EmbeddedUnavailable(str(problem)) from None
    except OSError as error:
        raise EmbeddedUnavailable(f"the embedded Postgres did not start: {error}; {home.INSTEAD[3:]}") from None


def remove(folder: Path) -> None:
    """Delete the embedded server of the project in `folder` and its data, for good. Refuses while it is in use."""
    where = Home(Path(os.path.realpath(folder)) / home.FOLDER_NAME)
    if sys.platform == "win32" or not where.folder.exists():
        return
    deadline = time.monotonic() + REMOVE_SECONDS
    turn, users = locks.Lock(where.start_lock), locks.Lock(where.users_lock)
    try:
        turn.acquire(shared=False, deadline=deadline)
        while locks.is_locked(where.keeper_lock):  # it stops by itself a moment after the last user
            if time.monotonic() > deadline:
                raise locks.LockTimeout
            time.sleep(locks.POLL_SECONDS)
        users.acquire(shared=False, deadline=deadline)
        sockets = Path(str(home.read_json(where.folder / "socket.json").get("folder", "")))
        if sockets.name.startswith("pyengine-"):
            shutil.rmtree(sockets, ignore_errors=True)
        if os.geteuid() == 0:
            shutil.rmtree(home.root_state(where))
        shutil.rmtree(where.folder)
    except locks.LockTimeout:
        raise EmbeddedUnavailable(
            f"the embedded Postgres in {where.folder} is in use: stop its programs first"
        ) from None
    finally:
        users.close()
        turn.close()


def _join(use: _Use) -> dict[str, object]:
    """Hold the users' lock and find or start the keeper. One process at a time looks and starts."""
    deadline = time.monotonic() + START_SECONDS
    where = use.home
    turn = locks.Lock(where.start_lock)
    try:
        with use.guard:
            turn.acquire(shared=False, deadline=deadline)
            _hold(use, deadline)
            while True:
                # With the users' lock held, a keeper that lives will not stop.
                if not locks.is_locked(where.keeper_lock):
                    _spawn(where, deadline)
                if text := locks.read_published(where.server_file):
                    facts: dict[str, object] = json.loads(text)
                    return facts
                if time.monotonic() > deadline:
                    raise locks.LockTimeout
                time.sleep(locks.POLL_SECONDS)
    except locks.LockTimeout:
        raise ServerProblem(
            f"the embedded Postgres was not ready within {START_SECONDS:.0f} s: see {where.server_log} and "
            f"{where.keeper_log.name} beside it"
        ) from None
    finally:
        turn.close()


def _hold(use: _Use, deadline: float) -> None:
    """Take the users' lock. A keeper that is stopping holds it, so this also waits until that one is gone."""
    while use.lock is None or not use.lock.is_current():
        if use.lock is not None:  # the folder was deleted and made anew
            use.lock.close()
        use.lock = locks.Lock(use.home.users_lock)
        use.lock.acquire(shared=True, deadline=deadline)


def _enter(where: Home) -> _Use:
    with _uses_guard:
        use = _uses.setdefault(where.folder, _Use(where))
        use.count += 1
        return use


def _leave(use: _Use) -> None:
    with _uses_guard:
        use.count -= 1
        if use.count == 0:
            del _uses[use.home.folder]
            if use.lock is not None:
                use.lock.close()


def _spawn(where: Home, deadline: float) -> None:
    """Start a keeper and wait until it reports that the server is ready, or why it is not."""
    packages = binaries.package_folders()
    if not packages:
        raise ServerProblem(binaries.NO_BINARIES)
    with suppress(FileNotFoundError):
        if where.keeper_log.stat().st_size > KEEPER_LOG_BYTES:
            where.keeper_log.unlink()
    reading, writing = os.pipe()
    try:
        log = os.open(where.keeper_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            main = Path(__file__).resolve().with_name("keeper_main.py")
            # Ends at once: the keeper is its child, in a session of its own. That session is made right here, so
            # that a Ctrl-C in the next millisecond does not reach it either.
            subprocess.run(
                [_interpreter(), "-I", "-S", str(main), str(where.folder), str(writing), *map(str, packages)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writing], start_new_session=True,
                check=True,
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            raise ServerProblem(f"cannot start the keeper of the embedded Postgres: {error}") from None
        finally:
            os.close(log)
            os.close(writing)
        told = _read(reading, deadline)
    finally:
        os.close(reading)
    if problem := told.get("problem"):
        raise ServerProblem(str(problem))
    # No word at all: another keeper was quicker, or it was killed. The caller looks again.


def _read(pipe: int, deadline: float) -> dict[str, object]:
    """One line from the keeper; nothing when it ended without a word."""
    text = b""
    while not text.endswith(b"\n"):
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise locks.LockTimeout
        piece = os.read(pipe, 65536)
        if not piece:
            break
        text += piece
    told: dict[str, object] = json.loads(text) if text.endswith(b"\n") else {}
    return told


def _interpreter() -> str:
    """The Python this runs in; a program that embeds Python names itself in sys.executable."""
    if sys.executable and os.path.basename(sys.executable).lower().startswith(("python", "pypy")):
        return sys.executable
    return os.path.join(sys.prefix, "bin", "python3")


def _forget_in_child() -> None:
    """A forked child uses nothing yet; its inherited lock was closed by the hook in `locks`."""
    global _uses_guard
    _uses.clear()
    _uses_guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
