"""Projects with an embedded server of their own, watched from outside and removed at the end."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded server does not run on Windows", allow_module_level=True)

from pyengine import embedded
from pyengine.embedded import binaries, home, locks, server

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


@pytest.fixture(scope="session", autouse=True)
def _needs_binaries() -> None:
    if not binaries.package_folders():
        pytest.skip("needs the extra `embedded`")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Ask for it before `processes`, whose programs then end first."""
    made = Project(tmp_path / "project")
    made.folder.mkdir()
    yield made
    for use in [each for each in server._uses.values() if each.home == made.home]:  # of a test that failed
        for _ in range(use.count):
            server._leave(use)
    embedded.remove(made.folder)


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder of an ordinary user, when the tests run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    folder = Path(tempfile.mkdtemp(prefix="pyengine-test-", dir="/tmp"))
    os.chown(folder, 65534, 65534)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_nobody() -> Callable[..., dict[str, Any]]:
    """Arguments for subprocess that make it run as nobody with a Python that nobody can run."""
    import subprocess

    site = [str(Path(spec.origin).parents[1]) for name in ("psycopg", "pyengine") if (spec := _origin(name))]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(dict.fromkeys(site))}
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"

    def arguments(folder: Path) -> dict[str, Any]:
        for python in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
            common = {"cwd": folder, "env": environment, "user": 65534, "group": 65534, "extra_groups": []}
            with contextlib.suppress(OSError):
                if python and subprocess.run([python, "-c", "import pyengine, psycopg"], **common).returncode == 0:  # type: ignore[call-overload]
                    return {"executable": python, **common}
        pytest.skip("nobody can run this Python")

    return arguments


def _origin(name: str) -> Any:
    spec = importlib.util.find_spec(name)
    return spec if spec and spec.origin else None
