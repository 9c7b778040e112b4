"""`make demo` shows what it says: its exit status is 0 only if the killed workflow really resumed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plugins.processes import Processes

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo" / "run.py"


@pytest.mark.e2e
def test_the_demo_shows_a_workflow_that_survives_kill_9(processes: Processes) -> None:
    program = processes.run(sys.executable, str(DEMO))

    assert program.wait(150) == 0, program.report()
