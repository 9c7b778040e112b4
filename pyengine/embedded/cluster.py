"""One Postgres data directory: made whole or not at all, started, adopted, stopped."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .binaries import Binaries
from .home import INSTEAD, Home, Place, write_private

SUPERUSER = "postgres"
PORT = 5432  # only names the socket; nothing listens on the network
STOP_SECONDS = 30.0
ORPHANS_SECONDS = 15.0
POLL_SECONDS = 0.01

# Given at every start and not written into the data, so a newer engine's choice reaches older data.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "200",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "max_wal_size": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "cluster_name": "pyengine",
}


class StartFailed(Exception):
    """Postgres ended before it was ready. Carries the last words of its log."""


@dataclass
class Cluster:
    """The data of one home, with the binaries and the user they belong to."""

    home: Home
    place: Place
    binaries: Binaries
    sockets: Path
    say: Callable[[str], None] = print
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _adopted: int | None = field(default=None, init=False)

    # --- making the data -------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Make the data unless they are there. initdb works in a scratch folder that is renamed when it is done, so
        what a crash leaves half-made is never taken for a database."""
        self._clear_scraps()
        if (self.place.data / "PG_VERSION").exists():
            return
        if self.place.data.exists():
            aside = self.place.data.with_name(f"postgres.unusable-{secrets.token_hex(3)}")
            self.place.data.rename(aside)
            self.say(f"{self.place.data} held no database; moved to {aside.name}")
        scratch = Path(tempfile.mkdtemp(prefix="new-", dir=self.place.state))
        self._give(scratch)
        password = secrets.token_hex(24)
        write_private(self.home.password_file, password)
        # initdb runs as the server's user, who cannot read the home's own password file.
        secret = scratch / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        self._give(secret)
        self._run(
            "initdb", "-D", str(scratch / "data"), "-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={secret}",
            "-E", "UTF8", *self._locale(),
        )  # fmt: skip
        secret.unlink()
        (scratch / "data").rename(self.place.data)
        _sync_folder(self.place.state)
        self._clear_scraps()  # again: the initdb of a killed keeper may have written for a moment longer

    def _clear_scraps(self) -> None:
        for scrap in self.place.state.glob("new-*"):
            shutil.rmtree(scrap, ignore_errors=True)

    def _locale(self) -> list[str]:
        """Byte order for sorting, so no library upgrade can corrupt an index; case and classes as Unicode has them
        where Postgres brings them itself."""
        if self.binaries.major >= 17:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C"]

    def _heal_password(self) -> None:
        """A lost password file is no reason to lose the data: single-user mode asks for none."""
        if self.home.password_file.exists():
            return
        self.say("the password file is missing; setting a new password")
        password = secrets.token_hex(24)
        self._run(
            "postgres", "--single", "-D", str(self.place.data), "postgres",
            stdin=f"alter role {SUPERUSER} password '{password}';\n",
        )  # fmt: skip
        write_private(self.home.password_file, password)

    # --- running it ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, or adopt the one a killed keeper left, and return when it accepts connections."""
        self._process = self._adopted = None
        self._await_orphan()
        deadline = time.monotonic() + ORPHANS_SECONDS
        while self._adopted is None:
            self._disown_stale_pid()
            try:
                self._heal_password()
                self._launch()
                return
            except StartFailed as failure:
                # Backends of a killed server need a moment to notice that it is gone.
                if "shared memory block" not in str(failure) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._wait_ready()

    def running(self) -> int | None:
        """The pid of the server: the started one, else one that was left behind; None when it ended."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        pid = self._noted_pid()
        return pid if pid is not None and _is_server(pid, self.place.data) else None

    def stop(self) -> None:
        """Stop in good order; at once when that takes too long. Nothing acknowledged is lost either way."""
        for request, patience in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
            pid = self.running()
            if pid is None:
                return
            with suppress(ProcessLookupError):
                os.kill(pid, request)
            self._wait_gone(patience)

    def abandon(self) -> None:
        """End a server whose data were deleted: there is nothing left to stop in good order."""
        if (pid := self._process.pid if self._process else self._adopted) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
            self._wait_gone(5.0)

    def _launch(self) -> None:
        settings = {**SETTINGS, "unix_socket_directories": f'"{self.sockets}"'}
        command = [self.binaries.program("postgres"), "-D", str(self.place.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = os.open(self.home.server_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        before = os.fstat(log).st_size
        try:
            # preexec_fn is safe here: the keeper has one thread. It runs after the change of user, which would
            # clear the parent-death signal.
            self._process = subprocess.Popen(
                command, cwd="/", env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_die_with(os.getpid()), **self._identity(),  # type: ignore[call-overload]
            )  # fmt: skip
        finally:
            os.close(log)
        try:
            self._wait_ready()
        except StartFailed:
            self._process = None
            raise StartFailed(self._last_words(before)) from None

    def _wait_ready(self) -> None:
        """Postgres writes its state into postmaster.pid; recovery after a crash takes as long as it takes."""
        while True:
            pid = self.running()
            if pid is None:
                raise StartFailed("the server ended")
            lines = self._pid_lines()
            if len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready":
                return
            time.sleep(POLL_SECONDS)

    def _wait_gone(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while self.running() is not None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _await_orphan(self) -> None:
        """A server without a keeper: on Linux it has been told to end, so wait for that; elsewhere adopt it."""
        deadline = time.monotonic() + (ORPHANS_SECONDS if sys.platform == "linux" else 0)
        while (pid := self.running()) is not None:
            if time.monotonic() >= deadline:
                self._adopted = pid
                self.say(f"adopted the running server {pid}")
                return
            time.sleep(POLL_SECONDS)

    def _disown_stale_pid(self) -> None:
        """Postgres refuses to start when the pid in a lock file of its lives, even if by now that is another program.

        The socket's lock file can go: its folder serves these data alone, whose server is known not to run.
        postmaster.pid stays, for it also names the shared memory by which Postgres finds backends of a killed server
        that still write. Only the pid in it is replaced by that of this process: the parent's is never refused.
        """
        if self.running() is not None:
            return
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            with suppress(FileNotFoundError):
                (self.sockets / name).unlink()
        lines = self._pid_lines()
        if not lines:
            return
        path = self.place.data / "postmaster.pid"
        text = "\n".join([str(os.getpid()), *lines[1:]]) + "\n"
        write_private(path, text)
        self._give(path)

    def _noted_pid(self) -> int | None:
        lines = self._pid_lines()
        try:
            return abs(int(lines[0])) if lines else None
        except ValueError:
            return None

    def _pid_lines(self) -> list[str]:
        try:
            return (self.place.data / "postmaster.pid").read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return []

    # --- doing things as the server's user -------------------------------------------------------------------------

    def _identity(self) -> dict[str, object]:
        if not self.place.switches_user:
            return {}
        return {"user": self.place.uid, "group": self.place.gid, "extra_groups": []}

    def _give(self, path: Path) -> None:
        if self.place.switches_user:
            os.chown(path, self.place.uid, self.place.gid, follow_symlinks=False)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [self.binaries.program(program), *arguments],
            input=stdin, capture_output=True, text=True, check=False, cwd="/", env=_environment(), umask=0o077,
            errors="replace", preexec_fn=_die_with(os.getpid()), **self._identity(),  # type: ignore[call-overload]
        )  # fmt: skip
        if done.returncode != 0:
            words = (done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}").splitlines()
            told = next((line for line in words if "error:" in line or "FATAL" in line), words[-1])
            raise StartFailed(f"{program} failed: {told.strip()}")

    def _last_words(self, offset: int) -> str:
        try:
            with self.home.server_log.open("rb") as log:
                log.seek(offset)
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line] or lines[-1:]
        return fatal[-1].split("] ", 1)[-1].strip() if fatal else "it ended without a word"


def data_major(data: Path) -> int | None:
    """Which Postgres the data are of; None when there are none."""
    try:
        return int((data / "PG_VERSION").read_text().split(".")[0])
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StartFailed(f"cannot read {data}/PG_VERSION ({error}): move {data} away, {INSTEAD}") from error


def _environment() -> dict[str, str]:
    """Nothing of the program's: PGDATA, PGPORT and their like would change what Postgres does."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    return {"LC_ALL": "C", "TZ": "UTC", **{name: os.environ[name] for name in kept if name in os.environ}}


def _die_with(parent: int) -> Callable[[], None] | None:
    """On Linux the kernel stops the server when its keeper is killed. Elsewhere the next keeper adopts it."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    set_parent_death_signal = 1

    def arm() -> None:
        prctl(set_parent_death_signal, signal.SIGQUIT, 0, 0, 0)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)

    return arm


def _is_server(pid: int, data: Path) -> bool:
    """Whether this process is the Postgres of these data, and not another that was given the same pid later."""
    try:
        if sys.platform == "linux":
            words = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
            return len(words) > 2 and os.path.basename(words[0]) == "postgres" and words[1:3] == ["-D", str(data)]
        listed = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        return f"postgres -D {data} " in os.fsdecode(listed.stdout)
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
