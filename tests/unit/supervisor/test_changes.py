"""Which files a worker in development is started again for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyengine.supervisor.changes import Look


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "main.py",
        "shop/flows.py",
        ".venv/lib.py",
        "env/lib.py",
        "node_modules/a.py",
        "shop/__pycache__/a.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a = 1\n")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    return tmp_path


def touch(path: Path) -> None:
    at = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(at, at))


def test_nothing_has_changed_at_first(folder: Path) -> None:
    assert Look(folder).changed() == []


def test_changed_made_and_removed_files_are_told_once(folder: Path) -> None:
    look = Look(folder)
    touch(folder / "main.py")
    (folder / "shop" / "new.py").touch()
    (folder / "shop" / "flows.py").unlink()
    (folder / "dbos-config.yaml").touch()

    names = ("dbos-config.yaml", "main.py", "shop/flows.py", "shop/new.py")
    assert look.changed() == [str(folder / name) for name in names]
    assert look.changed() == []


def test_what_is_no_source_of_the_program_is_not_looked_at(folder: Path) -> None:
    look = Look(folder)
    for name in (".venv/lib.py", "env/lib.py", "node_modules/a.py", "shop/__pycache__/a.py"):
        touch(folder / name)
    (folder / "data.json").touch()

    assert look.changed() == []
