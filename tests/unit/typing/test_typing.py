"""Decorators keep signatures and handles carry result types: mypy agrees with every assertion and expected error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_type_checker_sees_through_the_decorators(tmp_path: Path) -> None:
    program = Path(__file__).with_name("program.py")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--cache-dir",
        str(tmp_path),
        str(program),
    ]

    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
