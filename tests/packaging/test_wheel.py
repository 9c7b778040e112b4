"""The wheel alone is enough: in an empty environment and an empty folder it runs a workflow on its own Postgres."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.processes import Processes

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
from pyengine import DBOS

DBOS()

@DBOS.step()
def double(number: int) -> int:
    return 2 * number

@DBOS.workflow()
def twice(number: int) -> int:
    return double(double(number))

if __name__ == "__main__":
    DBOS.launch()
    print("result", twice(10))
    DBOS.destroy()
"""
IMPORTS = """
import importlib.util

print("pyengine", importlib.util.find_spec("pyengine").origin)
for name in ("pg", "sql", "tests", "docs", "dbos"):
    print(name, importlib.util.find_spec(name))
"""


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.timeout(600)
def test_a_wheel_runs_a_workflow_in_an_empty_folder(
    build_wheel: Callable[[Path], Path], environment: Any, processes: Processes
) -> None:
    wheel = build_wheel(ROOT)
    environment.install(f"{wheel}[embedded]")
    empty = processes.folder / "empty"
    empty.mkdir()
    (processes.folder / "main.py").write_text(PROGRAM)

    program = processes.run(environment.python, "../main.py", folder=empty, env=environment.settings)
    status = program.wait(120)
    imports = processes.run(environment.python, "-c", IMPORTS, folder=empty, env=environment.settings)
    imports.wait()

    assert (status, program.stdout) == (0, ["result 40"]), program.report()
    assert imports.stdout[0].startswith(f"pyengine {environment.folder}")
    assert imports.stdout[1:] == ["pg None", "sql None", "tests None", "docs None", "dbos None"]


@pytest.mark.timeout(600)
def test_a_wheel_holds_the_package_and_all_of_its_sql(build_wheel: Callable[[Path], Path]) -> None:
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "pyengine").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    functions = {
        f"pyengine/_sql/functions/{file.parent.name}/{file.name}" for file in ROOT.glob("sql/functions/*/*.sql")
    }
    migrations = {f"pyengine/_sql/pg/migrations/{file.name}" for file in ROOT.glob("pg/migrations/*.sql")}
    others = {f"pyengine/_sql/{name}" for name in ("errors.toml", "pg/views.sql", "pg/grants.sql")}

    assert files(build_wheel(ROOT)) == package | functions | migrations | others
