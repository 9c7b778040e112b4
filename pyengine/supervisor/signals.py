"""Signals as something to wait for: numbers read from a socket, nothing runs in a handler."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from collections.abc import Iterable
from typing import Any, Protocol

# Everything that a parent handles. Blocked around a fork: a child must not answer with its parent's handlers.
HANDLED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD") if hasattr(signal, name)
)


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Signals:
    """Receives these signals from here on, in the main thread."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._former_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._former: dict[int, Any] = {}
        for number in numbers:
            # Ignored by whoever started us (nohup): stays so.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._former[number] = signal.signal(number, _nothing)

    def fileno(self) -> int:
        return self._reader.fileno()

    def taken(self) -> list[int]:
        """Those that arrived since."""
        arrived: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while received := self._reader.recv(256):
                arrived += received
        return [number for number in arrived if number in self._former]

    def close(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._former_fd)
        self.abandon()

    def abandon(self) -> None:
        """Close the sockets only: in a forked child they are the parent's."""
        self._reader.close()
        self._writer.close()


def forget_parents_signals() -> None:
    """In a child, before anything else: what was blocked around the fork is let through again.

    Ctrl-C reaches the whole group; the parent answers it. A handler that does nothing, instead of SIG_IGN, which
    programs started by the user's steps would inherit.
    """
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, _nothing)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def wait(sources: Iterable[HasFileno], seconds: float | None) -> list[HasFileno]:
    """Those of the sources that have something to say."""
    return select.select(list(sources), [], [], None if seconds is None else max(0.0, seconds))[0]


def name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _nothing(number: int, frame: object) -> None:
    return None
