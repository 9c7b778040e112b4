"""How the parent starts a child: forked, or spawned where a fork is not safe."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import multiprocess

from ..errors import DBOSInitializationError
from .signals import HANDLED, forget_parents_signals
from .spec import START_METHODS

START_METHOD_VARIABLE = "PYENGINE_START_METHOD"


def choose_start_method(wanted: str | None) -> str:
    """What was asked for; else a fork, unless threads or the platform forbid it."""
    asked = wanted or os.environ.get(START_METHOD_VARIABLE) or None
    if asked is not None:
        if asked not in START_METHODS or asked not in multiprocess.get_all_start_methods():
            raise DBOSInitializationError(f"{asked!r} is not a start method here: one of {', '.join(START_METHODS)}")
        return asked
    # Frameworks of macOS start threads behind everybody's back.
    is_safe = sys.platform not in ("win32", "darwin") and threading.active_count() == 1
    return "fork" if is_safe else "spawn"


class Child:
    """A process of ours. Reaped by the parent itself, which wants to know more than `multiprocess` asks for."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    @property
    def exit_code(self) -> int | None:
        """If `multiprocess` reaped it before we did; it looks at its children whenever it starts another."""
        code: int | None = self._process.exitcode
        return code

    def signal(self, number: int) -> None:
        # Not reaped yet, so the pid is nobody else's.
        os.kill(self.pid, number)

    def buried(self, code: int) -> None:
        """It was reaped: let go of what `multiprocess` keeps for it."""
        self._process._popen.returncode = code
        self._process.close()


class Nursery:
    """Starts children, and knows what of the parent's they must let go of."""

    def __init__(self, method: str) -> None:
        self.method = method
        self._context = multiprocess.get_context(method)
        self._parents_own: list[Callable[[], None]] = []
        if method == "spawn":
            # It changes the signal mask when it starts: not while ours stands.
            from multiprocess import resource_tracker

            resource_tracker.ensure_running()

    def keep_from_children(self, close: Callable[[], None]) -> None:
        """Something that only the parent may hold open, and how to close it."""
        self._parents_own.append(close)

    def start(self, name: str, main: Callable[..., None], *arguments: Any) -> Child:
        own = self._parents_own if self.method == "fork" else None
        process = self._context.Process(target=_enter, name=name, args=(own, main, arguments))
        former = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        return Child(process)


def _enter(parents_own: list[Callable[[], None]] | None, main: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    for close in parents_own or ():
        close()
    forget_parents_signals()
    main(*arguments)
