"""A worker's supervisor, started by a program as a fresh interpreter: never as a fork of a program full of threads.

A pipe to it is all that ties them. It carries what the fleet is to be; the kernel closes it whatever the program dies
of, and then the fleet hands back what it has and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from ..db.retry import Backoff
from ..errors import DBOSInitializationError
from ..logs import logger

# What a fleet takes to hand back what did not end, and to end.
_FAST_END_SECONDS = 8.0
# The schema serves only newer engines: another one would be refused as well.
_NOT_SERVED = 3
_LIVED_SECONDS = 60.0


class FleetProcess:
    """One supervisor, in a session of its own: Ctrl-C in the terminal is the program's to answer."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        if sys.platform == "win32":
            raise DBOSInitializationError("executor processes need a system with POSIX signals")
        # The modules are found as they are found here.
        told = json.dumps({"spec": dict(spec), "path": sys.path}).encode() + b"\n"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pyengine.supervisor"], stdin=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it is gone already; whoever waits for it will see
            self._pipe.write(told)
            self._pipe.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit status; None if it has not ended in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def drain(self) -> None:
        """Ask it to end when its running steps have."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def let_go(self) -> None:
        """It hands back what it has, and ends."""
        with contextlib.suppress(OSError):
            self._pipe.close()

    def end(self, seconds: float) -> int | None:
        """Drain for so long, then hand back and end; its exit status."""
        self.drain()
        status = self.wait(seconds) if seconds > 0 else None
        self.let_go()
        if status is None:
            status = self.wait(_FAST_END_SECONDS)
        if status is None:
            self._process.kill()  # its processes see that it is gone
            status = self._process.wait()
        return status

    def forget(self) -> None:
        """In a forked copy of the program: the fleet is the original's, and must see when that is gone."""
        with contextlib.suppress(OSError):
            os.close(self._pipe.fileno())


class Fleet:
    """The executor processes of a program. Their supervisor is replaced when it dies."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._is_ending = threading.Event()
        self._process = FleetProcess(spec)
        self._thread = threading.Thread(target=self._keep, name="pyengine-fleet", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._process.pid

    def _keep(self) -> None:
        backoff = Backoff(first=1.0, ceiling=30.0)
        while True:
            started = time.monotonic()
            status = self._process.wait()
            if self._is_ending.is_set():
                return
            if status == _NOT_SERVED:
                logger.error("The schema no longer serves this engine: the executor processes have ended")
                return
            if time.monotonic() - started > _LIVED_SECONDS:
                backoff.reset()
            delay = backoff.next()
            logger.error(
                "The supervisor of the executor processes ended with status %s; it is started again in %.0f s. "
                "Until then nobody here serves the queues",
                status,
                delay,
            )
            if self._is_ending.wait(delay):
                return
            with self._lock:
                if self._is_ending.is_set():
                    return
                self._process.let_go()
                self._process = FleetProcess(self._spec)

    def begin_end(self) -> None:
        """Claim nothing more there."""
        with self._lock:
            self._is_ending.set()
        self._process.drain()

    def end(self, seconds: float) -> None:
        """Let running steps end for so long, then hand back the rest; returns when all its processes are gone."""
        self.begin_end()
        self._process.end(seconds)
        self._thread.join(1.0)

    def let_go(self) -> None:
        """The program ends without waiting."""
        with self._lock:
            self._is_ending.set()
        self._process.let_go()

    def forget(self) -> None:
        self._process.forget()
