"""Backup and restore, as docs/how-to/back-up-and-restore.md tells it: work goes on from the restored checkpoints."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import psycopg
import pytest

from plugins import private_cluster
from plugins.database import with_database
from plugins.fleet import Facts, Fleet
from plugins.processes import Processes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "back-up-and-restore.md"
FLOW = """
@DBOS.step()
def first():
    say("ran: first")

@DBOS.step()
def second():
    say("ran: second")
    while not os.path.exists("go"):
        time.sleep(0.02)

@DBOS.workflow()
def flow():
    first()
    second()
    return "done"
"""


def tool(name: str, *arguments: str) -> None:
    binaries = private_cluster.binaries()
    assert binaries is not None
    program = binaries / name
    if not program.exists():
        pytest.skip(f"these binaries have no {name}")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, env={**os.environ, "PGOPTIONS": ""})
    assert done.returncode == 0, done.stderr


def back_up(url: str, file: Path) -> None:
    tool("pg_dump", "--format=custom", f"--file={file}", url)


def restore(url: str, name: str, file: Path) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    restored = with_database(url, name)
    tool("pg_restore", f"--dbname={restored}", str(file))
    return restored


def declare_the_old_ones_dead(url: str) -> None:
    statement = re.search(r"```sql\n(.*?mark_executor_dead.*?)```", PAGE.read_text(), re.DOTALL)
    assert statement is not None
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement[1].encode())


@pytest.mark.parametrize("is_told", [True, False], ids=["the old are declared dead", "by their line of history"])
def test_work_goes_on_from_the_restored_checkpoints(
    own_database_url: str,
    processes: Processes,
    is_told: bool,
) -> None:
    fleet = Fleet(processes, own_database_url)
    fleet.define(FLOW)
    old = fleet.start(ttl=3, after_launch='with SetWorkflowID("w"):\n    DBOS.start_workflow(flow)')
    old.wait_for_line("^ran: second")
    file = processes.folder / "w.dump"
    back_up(own_database_url, file)
    # What happens after the backup is forgotten by it.
    (fleet.folder / "go").touch()
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        Facts(connection).wait_for("w")
    old.kill()

    restored = restore(own_database_url, "restored", file)
    if is_told:
        declare_the_old_ones_dead(restored)
    checked = processes.module("pyengine", "migrate", "--check", "--sys-db-url", restored)
    assert checked.wait() == 0, checked.report()
    again = Fleet(processes, restored)
    again.define(FLOW)
    new = again.start(ttl=3)

    with psycopg.connect(restored, autocommit=True) as connection:
        facts = Facts(connection)
        facts.wait_for("w")
        assert facts.one("select count(*) from pyengine.checkpoints where workflow_id = 'w'") == 2
        assert facts.all("select * from pyengine.doctor()") == []
    new.wait_for_line("^ran: second")
    assert "ran: first" not in new.stdout
