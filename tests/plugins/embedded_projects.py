"""A project with an embedded server of its own, watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from pyengine.embedded import home, locks

USER = """
    import sys, time
    from pathlib import Path
    from pyengine import embedded
    server = embedded.start(Path.cwd())
    print("URL", server.url)
    print("SAYS", server.description)
    time.sleep(600)
"""


def eventually(condition: Callable[[], Any], within_seconds: float = 10) -> Any:
    """The first true value of the condition; fails when there is none in time."""
    until = time.monotonic() + within_seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    except OSError:
        pass
    if sys.platform == "linux":
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


class Project:
    """A project folder, and what can be seen of its server without using it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = home.Home(Path(os.path.realpath(folder)) / ".pyengine")

    def facts(self) -> dict[str, Any]:
        return json.loads(locks.read_published(self.home.server_file) or "{}")

    @property
    def keeper(self) -> int:
        return int(self.facts()["keeper"])

    @property
    def data(self) -> Path:
        return home.locate(self.home).data

    @property
    def postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split("\n")[0])

    def is_kept(self) -> bool:
        return locks.is_locked(self.home.keeper_lock)

    def wait_stopped(self) -> None:
        eventually(lambda: not self.is_kept() and not (self.data / "postmaster.pid").exists())

    def kill_everything(self) -> None:
        keeper, postmaster = self.keeper, self.postmaster
        os.kill(keeper, signal.SIGSTOP)  # so it starts nothing again
        os.kill(postmaster, signal.SIGKILL)
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: not is_running(keeper) and not is_running(postmaster))

    def server_uid(self) -> int:
        return self.data.stat().st_uid


def execute(url: str, *statements: str) -> Any:
    """Run the statements and return the first value of the last one."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def url_of(program: Any) -> str:
    return str(program.wait_for_line("^URL ").text).removeprefix("URL ")
