"""The distribution `dbos`: installed as its README says, programs that import `dbos` and its command run unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.processes import Processes

ROOT = Path(__file__).resolve().parents[2]

# The tutorial's first program, as it is printed there.
PROGRAM = (ROOT / "tests" / "e2e" / "tutorial" / "1_steps.py").read_text()
NAMES = """
import dbos, dbos.error, pyengine
from dbos.error import DBOSException
from dbos import *

assert dbos.DBOS is pyengine.DBOS is DBOS
assert dbos.error.DBOSException is DBOSException is pyengine.errors.DBOSException
assert dbos.__version__ == pyengine.__version__
assert not [name for name in pyengine.__all__ if getattr(dbos, name) is not getattr(pyengine, name)]
"""


@pytest.mark.timeout(900)
def test_a_program_that_imports_dbos_runs_unchanged(environment: Any, processes: Processes) -> None:
    environment.install(str(ROOT), str(ROOT / "compat" / "dbos"))
    folder = processes.folder / "dbos-starter"
    folder.mkdir()
    (folder / "main.py").write_text(PROGRAM)

    def run(*command: str) -> list[str]:
        program = processes.run(*command, folder=folder, env=environment.settings)
        assert program.wait(120) == 0, program.report()
        return program.stdout

    assert run(environment.python, "main.py") == ["Step one completed!", "Step two completed!"]
    assert run(environment.python, "-c", NAMES) == []
    versions = run("dbos", "version"), run(environment.python, "-m", "dbos", "version")
    assert versions[0] == versions[1]
    run("dbos", "init", "--config")
    assert (folder / "dbos-config.yaml").exists()
