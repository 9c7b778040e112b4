"""Real programs in real processes: started, watched line by line, signalled, killed, and never left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import IO

import pytest

from pyengine import embedded

ROOT = Path(__file__).resolve().parents[2]
WHOLE_LINES = Path(__file__).parent / "whole_lines"
# Programs under test must not inherit which database the developer's own shell points at.
FOREIGN = ("DBOS_", "PYENGINE_", "PG")


@dataclass(frozen=True)
class Line:
    """One line a program printed, and when it did (monotonic seconds)."""

    stream: str
    text: str
    at: float


@dataclass
class Program:
    """A running program and everything it has printed so far."""

    process: subprocess.Popen[str]
    folder: Path
    lines: list[Line] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _readers: list[threading.Thread] = field(default_factory=list)

    def _read(self, stream: str, pipe: IO[str]) -> None:
        with pipe:
            for text in pipe:
                with self._news:
                    self.lines.append(Line(stream, text.rstrip("\n"), time.monotonic()))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> list[str]:
        return [line.text for line in list(self.lines) if line.stream == "stdout"]

    @property
    def stderr(self) -> list[str]:
        return [line.text for line in list(self.lines) if line.stream == "stderr"]

    def wait_for_line(self, pattern: str, *, timeout_seconds: float = 30, times: int = 1) -> Line:
        """Wait until `times` lines match the regular expression, on either stream; the last of them is returned."""
        wanted, until = re.compile(pattern), time.monotonic() + timeout_seconds
        with self._news:
            while True:
                found = [line for line in self.lines if wanted.search(line.text)]
                if len(found) >= times:
                    return found[times - 1]
                ended = not any(reader.is_alive() for reader in self._readers)
                if ended or not self._news.wait(max(0, min(0.1, until - time.monotonic()))):
                    gone = ended and self.process.poll() is not None
                    if gone or time.monotonic() > until:
                        when = "before the end" if gone else "in time"
                        raise AssertionError(f"no line {pattern!r} (x{times}) {when}:\n{self.report()}")

    def report(self) -> str:
        printed = "\n".join(f"{line.stream}: {line.text}" for line in list(self.lines))
        return f"exit status {self.process.poll()}\n{printed}"

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does: SIGINT to the whole foreground group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of the program alone, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def wait(self, timeout_seconds: float = 60) -> int:
        """Wait for the end; the exit status. All output has been read then."""
        try:
            status = self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_seconds} s:\n{self.report()}") from None
        for reader in self._readers:
            reader.join(5)
        return status

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)
        for reader in self._readers:
            reader.join(5)


class Processes:
    """Starts programs of one test, in a folder of its own unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Program] = []

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        path = os.pathsep.join((str(ROOT), str(WHOLE_LINES)))
        return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(extra or {})}

    def start(
        self,
        source: str,
        *arguments: str,
        name: str = "main.py",
        folder: Path | None = None,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Program:
        """Write the source to a file and run it with this interpreter."""
        place = folder or self.folder
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(dedent(source))
        return self.run(sys.executable, "-u", *options, name, *arguments, folder=place, env=env)

    def module(self, *arguments: str, folder: Path | None = None, env: Mapping[str, str] | None = None) -> Program:
        """`python -m` something, for example the project's own command line."""
        return self.run(sys.executable, "-m", *arguments, folder=folder, env=env)

    def shell(self, command: str, *, folder: Path | None = None, env: Mapping[str, str] | None = None) -> Program:
        return self.run("bash", "-c", command, folder=folder, env=env)

    def run(self, *command: str, folder: Path | None = None, env: Mapping[str, str] | None = None) -> Program:
        place = folder or self.folder
        place.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            command, cwd=place, env=self.environment(env), start_new_session=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        program = Program(process, place)
        for stream, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            reader = threading.Thread(
                target=program._read, args=(stream, pipe), daemon=True, name=shlex.join(command)[:40]
            )
            program._readers.append(reader)
            reader.start()
        self.started.append(program)
        return program

    def close(self) -> None:
        """Kill what still runs, and remove the embedded servers that the programs made in their folders."""
        for program in self.started:
            program.close()
        # Below the folders, too: a program may change to another, or make one.
        for home in {home for program in self.started for home in program.folder.rglob(".pyengine")}:
            embedded.remove(home.parent)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.close()


@pytest.fixture
def port_8000() -> Iterator[int]:
    """The port that programs take by default, for one test at a time over all workers of this machine."""
    port = 8000
    with (Path(tempfile.gettempdir()) / f"pyengine-test-port-{port}").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        until = time.monotonic() + 15  # the test before may still be killing its program
        while not _is_free(port):
            if time.monotonic() > until:
                pytest.fail(f"port {port}, which this test needs, is in use by another program")
            time.sleep(0.1)
        yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False
