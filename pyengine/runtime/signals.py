"""Ctrl-C under a web server.

A server answers the first SIGINT by waiting for its requests, so a request that runs a workflow would be finished
instead of being resumed after the restart. This hook runs before the server's handler: it hands the work back, and
bounds how long the process may still live.

A script or REPL keeps Python's own Ctrl-C, KeyboardInterrupt: there the program decides what ends, and the engine's
threads are daemons.
"""

from __future__ import annotations

import _thread
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

EXIT_CODE = 128 + signal.SIGINT
_POLL_SECONDS = 0.02
_FLUSH_SECONDS = 0.1

_Handler = Callable[[int, FrameType | None], Any]


class _Hook:
    """One process' SIGINT handler in front of the one that was there before."""

    def __init__(self, previous: _Handler, on_interrupt: Callable[[], None], budget_seconds: float) -> None:
        self.previous = previous
        self.on_interrupt = on_interrupt
        self.budget_seconds = budget_seconds
        self.is_removed = False
        self.is_disarmed = False
        self._pid = os.getpid()
        self._was_interrupted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # A forked child inherits the handler, but neither the engine nor its threads.
        if not self._was_interrupted and not self.is_removed and os.getpid() == self._pid:
            self._was_interrupted = True
            # Not threading.Thread: its start takes locks that the interrupted main thread may be holding.
            _thread.start_new_thread(self._exit_at, (time.monotonic() + self.budget_seconds,))
            _thread.start_new_thread(self._hand_back, ())
        self.previous(number, frame)

    def _hand_back(self) -> None:
        try:
            self.on_interrupt()
        except BaseException as error:  # the process is ending; what could not be handed back is taken over
            from ..logs import logger

            logger.debug("Could not hand everything back on Ctrl-C: %s", error)

    def _exit_at(self, deadline: float) -> None:
        while not self.is_disarmed:
            if time.monotonic() >= deadline and self._may_exit():
                flush_standard_streams()
                os._exit(EXIT_CODE)
            time.sleep(_POLL_SECONDS)

    def _may_exit(self) -> bool:
        """Once the engine is shut down in good order, only what outlives the main thread is cut off: a program that
        goes on after its server has ended (uvicorn.run() returns on Ctrl-C) keeps the time it needs."""
        return not self.is_removed or _interpreter_is_ending()


_installed: _Hook | None = None


def install_interrupt_hook(on_interrupt: Callable[[], None], *, budget_seconds: float = 1.0) -> bool:
    """Put the engine in front of the server's SIGINT handler; False where there is none to wrap (see the module).

    At the first SIGINT `on_interrupt` runs on a thread of its own and the server's handler is called. If the process is
    still alive `budget_seconds` after the signal, it is ended with exit code 130.
    """
    global _installed
    if threading.current_thread() is not threading.main_thread():
        return False
    remove_interrupt_hook()
    if _installed is not None:
        _installed.is_disarmed = True  # launched again after Ctrl-C: the program lives on
    previous = signal.getsignal(signal.SIGINT)
    if not callable(previous) or _is_pythons_own(previous):
        return False
    _installed = _Hook(previous, on_interrupt, budget_seconds)
    signal.signal(signal.SIGINT, _installed)
    return True


def remove_interrupt_hook() -> None:
    """Take the hook out again. Called from another thread than the main one, the hook stays and passes signals on."""
    hook = _installed
    if hook is None:
        return
    hook.is_removed = True
    current: object = signal.getsignal(signal.SIGINT)
    if current is hook and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, hook.previous)


def flush_standard_streams() -> None:
    """Flush what the program printed, without waiting long for a reader that has stopped reading."""
    done = _thread.allocate_lock()
    done.acquire()

    def flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # closed, broken or replaced: nothing left to save there
                continue
        done.release()

    _thread.start_new_thread(flush, ())
    done.acquire(timeout=_FLUSH_SECONDS)


def _is_pythons_own(handler: Any) -> bool:
    """default_int_handler, or what asyncio.run() puts in its place to turn Ctrl-C into a cancellation."""
    if handler is signal.default_int_handler:
        return True
    inner = handler.func if isinstance(handler, functools.partial) else handler
    owner = getattr(inner, "__self__", None)
    return type(owner).__module__.startswith("asyncio") and getattr(inner, "__name__", "") == "_on_sigint"


def _interpreter_is_ending() -> bool:
    return bool(getattr(threading, "_SHUTTING_DOWN", False)) or not threading.main_thread().is_alive()
