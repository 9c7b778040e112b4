"""A measured program as a process: told when to begin and end, heard line by line."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import environments
from bench.systems import System

if TYPE_CHECKING:
    from typing_extensions import Self

    from bench.hosts import Host

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 120.0


class ProgramFailed(Exception):
    """It ended, or was silent for too long. Carries its last words."""


class Process:
    """Something of the suite's that says lines of JSON."""

    def __init__(self, name: str, command: Sequence[str], *, own: bool) -> None:
        """`own`: of an interpreter that has this project."""
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, cwd=ROOT,
            env=_environment(own=own),
        )  # fmt: skip
        self._heard: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._errors.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                if line.startswith("{"):
                    self._heard.put(json.loads(line))
        except ValueError:
            pass  # closed meanwhile
        self._heard.put(None)

    def wait(self, word: str | None = None, patience: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The next line, or the next one that says `word`."""
        until = time.monotonic() + patience
        while True:
            try:
                found = self._heard.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise ProgramFailed(f"{self.name} said nothing for {patience} s\n{self.last_words()}") from None
            if found is None:
                self._heard.put(None)
                self._process.wait()
                raise ProgramFailed(f"{self.name} ended with {self._process.returncode}\n{self.last_words()}")
            if word is None or word in found:
                return found

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def tell_to_end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> dict[str, Any]:
        """It is told to stop; its result."""
        self.tell_to_end()
        return dict(self.wait("result")["result"])

    def last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        # What was wrong stands in the last line that is no continuation of another.
        errors = [line for line in lines if line[:1].isalpha() and ("Error" in line or "Exception" in line)]
        return "\n".join([*errors[-1:], *lines[-3:]])[-1000:]


class Program(Process):
    """A program of a system, on this host or on a simulated one."""

    def __init__(self, system: System, command: str, url: str, host: Host | None = None, **options: Any) -> None:
        python = environments.interpreter(system)
        words = [str(python), str(system.path), *([system.engine] if system.engine else [])]
        words += [command, url if host is None else host.url, json.dumps(options)]
        super().__init__(
            f"{system.name} {command}", words if host is None else host.command(*words), own=not system.requirements
        )


def _environment(*, own: bool) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("DBOS", "PYENGINE", "PG"))}
    given.pop("PYTHONPATH", None)
    if own:
        given["PYTHONPATH"] = str(ROOT)
    return given


def call(system: System, command: str, url: str, **options: Any) -> dict[str, Any]:
    """Run a program of one answer."""
    with Program(system, command, url, **options) as program:
        return program.wait()
