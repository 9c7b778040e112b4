"""Fixtures for the embedded server's tests: projects that are removed at the end, and somebody else to be."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.embedded_projects import Project
from pyengine import embedded
from pyengine.embedded import binaries, server


@pytest.fixture(scope="session", autouse=True)
def _needs_binaries() -> None:
    if sys.platform == "win32":
        pytest.skip("the embedded server does not run on Windows")
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
