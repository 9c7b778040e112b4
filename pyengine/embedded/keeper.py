"""The keeper: a small process that runs the server as long as somebody uses it.

It lives in a session of its own, so no Ctrl-C reaches it. It holds keeper.lock exclusively as long as it lives. Its
users hold users.lock shared; when the keeper can take that lock itself, the last user is gone. It keeps users.lock
while it stops the server, so a program that starts just then waits, finds no keeper afterwards and starts one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from . import binaries, home, locks
from .cluster import PORT, SUPERUSER, Cluster, StartFailed, data_major
from .home import Home, Place
from .problems import ServerProblem

GRACE_SECONDS = 1.0
TERM_SECONDS = 30.0
POLL_SECONDS = 0.25
LOG_BYTES = 4 * 1024 * 1024
CRASHES_ALLOWED = 5
CRASH_WINDOW_SECONDS = 60.0


class Keeper:
    def __init__(self, where: Home, place: Place, cluster: Cluster, lock: locks.Lock) -> None:
        self.where = where
        self.place = place
        self.cluster = cluster
        self.lock = lock
        self.users = locks.Lock(where.users_lock)
        self._server_file: locks.Lock | None = None
        self._stop_at: float | None = None
        self._crashes: list[float] = []
        self._wakeup, self._waker = os.pipe()

    def listen(self) -> None:
        """The terminal's signals mean the program, never the server.

        SIGTERM often goes to a whole control group at once: a program that finishes its work on it still needs its
        database, so the keeper gives the users some time first. A second one ends that.
        """
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # inherited from whatever thread started this
        for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_IGN)
        os.set_blocking(self._waker, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop_soon)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the end of the server wakes the loop

    def start(self) -> None:
        self.cluster.make()
        self.cluster.start()
        if self._server_file is not None and self._server_file.is_current():
            return
        facts = {
            "keeper": os.getpid(),
            "version": self.cluster.binaries.version,
            "data": str(self.place.data),
            "sockets": str(self.cluster.sockets),
            "port": PORT,
            "user": SUPERUSER,
        }
        self._server_file = locks.publish(self.where.server_file, json.dumps(facts))

    def watch(self) -> None:
        """Return when the server is to be stopped, with users.lock held."""
        unused_since: float | None = None
        while self._stop_at is None or time.monotonic() < self._stop_at:
            self._sleep(POLL_SECONDS)
            if not self.users.is_current() or not self.lock.is_current():
                say("the folder was deleted; ending the server")
                self.cluster.abandon()
                return
            if self.users.try_exclusive():
                now = time.monotonic()
                unused_since = now if unused_since is None else unused_since
                if now - unused_since >= GRACE_SECONDS or self._stop_at is not None:
                    return
                self.users.unlock()
            else:
                unused_since = None
            if self.cluster.running() is None:
                if self._stop_at is not None:
                    return
                self._restart()
            _bound(self.where.server_log)

    def stop(self) -> None:
        self.cluster.stop()
        if self._server_file is not None:
            self._server_file.close()
        # In this order: whoever gets users.lock next must find no keeper.
        self.lock.close()
        self.users.close()

    def _restart(self) -> None:
        """The server was killed, not the keeper. Its users come back by themselves, to the same address."""
        now = time.monotonic()
        self._crashes = [each for each in self._crashes if now - each < CRASH_WINDOW_SECONDS] + [now]
        if len(self._crashes) > CRASHES_ALLOWED:
            raise StartFailed(f"the server ended {len(self._crashes)} times within a minute")
        say("the server ended; starting it again")
        self.start()

    def _stop_soon(self, *_: object) -> None:
        patience = TERM_SECONDS if self._stop_at is None else 0.0
        self._stop_at = time.monotonic() + patience

    def _sleep(self, seconds: float) -> None:
        if select.select([self._wakeup], [], [], seconds)[0]:
            os.read(self._wakeup, 512)


def run(folder: Path, packages: Sequence[Path], report: int) -> int:
    """Keep the server of `folder` until its last user is gone. `report` is a pipe to who started this process."""
    where = Home(folder)
    lock = locks.Lock(where.keeper_lock)
    if not lock.try_exclusive():  # another keeper; who started this one looks again
        return 0
    keeper = None
    channel = Report(report)
    try:
        place = home.locate(where)
        chosen = binaries.choose(binaries.installations(packages), data_major(place.data), place.data)
        if place.switches_user:
            chosen = binaries.usable_by(chosen, place.uid, place.gid, home.ROOT_STATE / "binaries")
        cluster = Cluster(where, place, chosen, home.socket_folder(where, place), say)
        keeper = Keeper(where, place, cluster, lock)
        keeper.listen()
        keeper.start()
        say(f"Postgres {chosen.version} runs in {place.data}")
        channel.send({"ready": True})
        keeper.watch()
        say("stopping")
    except (ServerProblem, StartFailed, OSError) as error:
        say(str(error))
        channel.send({"problem": _explain(error, where)})
        return 1
    finally:
        if keeper is not None:
            keeper.stop()
    return 0


def say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {text}", file=sys.stderr, flush=True)


def _explain(error: Exception, where: Home) -> str:
    if isinstance(error, ServerProblem):
        return str(error)
    return f"the embedded Postgres did not start: {error} (more in {where.server_log} and {where.keeper_log.name})"


class Report:
    """One line to the process that started this one."""

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def send(self, message: dict[str, object]) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            with suppress(OSError):  # nobody waits any more
                os.write(pipe, json.dumps(message).encode() + b"\n")
            os.close(pipe)


def _bound(log: Path) -> None:
    """Keep one older piece. Copied and cut, because the server keeps the file open; it appends, so cutting is safe."""
    with suppress(OSError):
        if log.stat().st_size > LOG_BYTES:
            older = log.with_name(f"{log.name}.1")
            home.write_private(older, log.read_text(errors="replace"))
            os.truncate(log, 0)
