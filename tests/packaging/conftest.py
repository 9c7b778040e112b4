"""Fresh virtual environments, as a user would make them, with nothing of this checkout on their path."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pip(python: Path | str, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"pip {' '.join(arguments)}\n{done.stdout}{done.stderr}"


@dataclass(frozen=True)
class Environment:
    """A virtual environment; `settings` are what a program needs to run in it and not in this checkout."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def settings(self) -> dict[str, str]:
        return {"PYTHONPATH": "", "VIRTUAL_ENV": str(self.folder), "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"}

    def install(self, *requirements: str) -> None:
        pip(self.python, "install", *requirements)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    made = Environment(tmp_path / "environment")
    subprocess.run([sys.executable, "-m", "venv", made.folder], check=True)
    return made


@pytest.fixture
def build_wheel(tmp_path: Path) -> Callable[[Path], Path]:
    """Build a distribution's wheel from its folder."""

    def build(source: Path) -> Path:
        into = tmp_path / "wheels"
        pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(into), str(source))
        (wheel,) = into.glob("*.whl")
        return wheel

    return build
