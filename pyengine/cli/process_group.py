"""Runs one shell command in a process group of its own, and sees to it that the whole group ends when it has to.

A group of its own, because Ctrl-C in a terminal would otherwise reach the command a second time from the terminal
itself, and because what a shell started can only be reached through its group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..supervisor.signals import HANDLED, Signals, wait
from .exit_codes import of_signal

GRACE_SECONDS = 1.0
# Many shells stay between us and the command. A signal to the group must not end the shell before the command has dealt
# with it: this way the shell waits, and returns the command's own status instead of going on with the next one.
_SHELL_WAITS = "trap 'exit $?' INT TERM HUP\n"
_POLL_SECONDS = 0.02


def run_command(command: str, folder: Path, environment: dict[str, str]) -> int:
    """The command's exit status, or 128+N when signal N ended it."""
    if sys.platform == "win32":
        return _run_on_windows(command, folder, environment)
    own_group: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
    with _Guard() as guard, _received() as signals:
        child = subprocess.Popen(_SHELL_WAITS + command, shell=True, cwd=folder, env=environment, **own_group)
        guard.watch(child.pid)
        return _Group(child, signals).wait()


class _Group:
    """A child that leads its process group, and the signals that are to reach it."""

    def __init__(self, child: subprocess.Popen[bytes], signals: Signals) -> None:
        self._child = child
        self._signals = signals
        self._kill_at: float | None = None
        self._reason = 0
        self._was_killed = False

    def wait(self) -> int:
        while self._child.poll() is None:
            self._handle_signals(self._patience())
        # What a command left in the background on purpose, and ended by itself, is its own business. Told to end, the
        # whole group ends.
        while self._reason and not self._was_killed and self._is_there():
            self._handle_signals(_POLL_SECONDS)
        if self._child.returncode == -signal.SIGKILL and self._was_killed:
            return of_signal(self._reason)  # what ended it is the signal we were sent, not our SIGKILL
        status = self._child.returncode
        return of_signal(-status) if status < 0 else status

    def _handle_signals(self, seconds: float | None) -> None:
        wait([self._signals], seconds)
        for number in self._signals.taken():
            if number != signal.SIGCHLD:
                self._forward(number)
        if self._kill_at is not None and time.monotonic() >= self._kill_at and not self._was_killed:
            self._was_killed = True
            self._send(signal.SIGKILL)

    def _is_there(self) -> bool:
        with contextlib.suppress(ChildProcessError):
            # As the first process of a container we are the parent of orphans too, and nobody else buries them.
            os.waitpid(-self._child.pid, os.WNOHANG)
        return self._send(0)

    def _forward(self, number: int) -> None:
        if self._reason or number == signal.SIGINT:
            # Ctrl-C, or a second signal of any kind: fast. A third does not wait at all.
            now = time.monotonic()
            self._kill_at = now + GRACE_SECONDS if self._kill_at is None else now
            self._send(signal.SIGINT)
        else:
            self._send(number)
        self._send(signal.SIGCONT)  # one that was stopped for reading the terminal could not end
        self._reason = self._reason or number

    def _patience(self) -> float | None:
        if self._kill_at is None or self._was_killed:
            return None
        return max(0.0, self._kill_at - time.monotonic())

    def _send(self, number: int) -> bool:
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS: only zombies are left; or a command that changed its user
            return number == 0
        return True


@contextlib.contextmanager
def _received() -> Iterator[Signals]:
    # Ignored by whoever started us (nohup): the command ignores it too.
    signals = Signals(
        number for number in HANDLED if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN
    )
    try:
        yield signals
    finally:
        signals.close()


class _Guard:
    """A small process that ends the group when this one is gone without having said so (kill -9, out of memory).

    Its pipe tells: the kernel closes our end of it, whatever we died of.
    """

    def __enter__(self) -> _Guard:
        reader, self._writer = os.pipe()
        # The child keeps them blocked for good: a Ctrl-C is not for it, not even in its first moment.
        former = signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
        )
        self._pid = os.fork()
        if not self._pid:
            os.close(self._writer)
            _guard(reader)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        os.close(reader)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.write(self._writer, b"0\n")
        os.close(self._writer)
        os.waitpid(self._pid, 0)

    def watch(self, group: int) -> None:
        with contextlib.suppress(OSError):
            os.write(self._writer, b"%d\n" % group)


def _guard(reader: int) -> None:
    try:
        os.setsid()
        # Whoever reads our output must not wait for this process.
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        told = b""
        while received := os.read(reader, 64):
            told += received
        group = int(told.split()[-1]) if told.split() else 0
        if group:
            _end_group(group)
    finally:
        os._exit(0)


def _end_group(group: int) -> None:
    until = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGINT)
        while time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


def _run_on_windows(command: str, folder: Path, environment: dict[str, str]) -> int:
    """There are no process groups to signal: the console sends Ctrl-C to all of its processes itself."""
    child = subprocess.Popen(command, shell=True, cwd=folder, env=environment)
    try:
        return child.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(GRACE_SECONDS)
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(child.pid)], capture_output=True)
        return of_signal(signal.SIGINT)
