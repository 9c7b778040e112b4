"""`make demo` shows what it says: the second start of the killed workflow runs only the steps that had not finished."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from plugins.processes import Processes

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.e2e
def test_the_demo_shows_a_workflow_that_survives_kill_9(processes: Processes) -> None:
    folder = processes.folder / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns(".pyengine", "__pycache__"))

    program = processes.run(sys.executable, "-u", "demo.py", folder=folder)
    status = program.wait(120)

    assert status == 0, program.report()
    printed = [line for line in program.stdout if line.startswith(("step", "result"))]
    assert printed == [
        "step 1: write a greeting",
        "step 2: sign the guestbook with 'Hello, reader!'",
        "result: Hello, reader!",
        "step 1 of 5 done",
        "step 2 of 5 done",
        "step 3 of 5 done",
        "step 4 of 5 done",
        "step 5 of 5 done",
        "result: 15",
    ]
