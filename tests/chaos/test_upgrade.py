"""The engine is upgraded under load: the schema first, then hosts; and the new hosts are taken back again."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import psycopg
import pytest

from plugins.chaos.host import Host
from plugins.chaos.run import Run
from plugins.processes import ROOT, WHOLE_LINES

from .conftest import Stage
from .test_rolling_restart import finished

# Tables that every call uses are locked for a moment.
MIGRATION = """
alter table pyengine.workflows add column later text;
alter table pyengine.in_flight add column later integer not null default 0;
create table pyengine.later (id bigint primary key);
"""


def next_release(folder: Path) -> Path:
    """A copied tree of a release that is yet to come: one migration more, a protocol of its own, the old one served."""
    tree = folder / "next"
    for part in ("pyengine", "pg", "sql"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    version = tree / "pyengine" / "_version.py"
    text = re.sub(r"PROTOCOL = \d+", "PROTOCOL = 1000", version.read_text())
    version.write_text(re.sub(r'__version__ = ".*"', '__version__ = "1000.0"', text))
    latest = max(int(file.name[:4]) for file in (tree / "pg" / "migrations").glob("*.sql"))
    (tree / "pg" / "migrations" / f"{latest + 1:04d}_later.sql").write_text(MIGRATION)
    for function in (tree / "sql" / "functions").rglob("*.sql"):
        # All of them are replaced while they are called.
        function.write_text(function.read_text().replace("\nbegin\n", "\nbegin\n  -- of a later release\n", 1))
    return tree


@pytest.mark.timeout(400)
@pytest.mark.parametrize("workers", [0, 1], ids=["programs", "supervised"])
def test_old_and_new_hosts_work_side_by_side_and_the_new_ones_may_go(
    stage: Stage, tmp_path: Path, workers: int
) -> None:
    tree = next_release(tmp_path)
    path = {"PYTHONPATH": os.pathsep.join((str(tree), str(WHOLE_LINES)))}
    with stage.run(hosts=4, workers=workers, ttl=5, per_second=8) as run:
        old, new = run.hosts[:2], run.hosts[2:]
        for host in old:
            host.add("v1")
        run.start()
        finished(run, 20)

        migration = stage.processes.module("pyengine", "migrate", "--db-url", run.postgres.url, env=path)
        run.go_on(lambda: migration.process.poll() is not None, "the schema is migrated")
        assert migration.wait() == 0, migration.report()
        finished(run, 20)

        for host in new:
            host.environment.update(path)
            host.add("v1")
        run.wait_until_registered()
        finished(run, 40)
        assert claimed_by(run, new) > 0
        assert protocols(run) == {1, 1000}

        for host in new:
            host.drain(host.slots, back_after=None)
        run.go_on(lambda: not any(host.running() for host in new), "the new hosts have gone")
        finished(run, 20)
        report = stage.in_good_order(run, tmp_path / "logs")

        assert set(report.facts["deaths"]) <= {"retired", "handed_over"}
        assert report.facts["crashes counted"] == 0
        assert [slot.ended for host in old for slot in host.slots] == [[], []]


def protocols(run: Run) -> set[int]:
    with psycopg.connect(run.postgres.url) as connection:
        return {each for (each,) in connection.execute("select protocol from pyengine.executors").fetchall()}


def claimed_by(run: Run, hosts: list[Host]) -> int:
    query = "select count(*) from ledger.effects where host = any (%s)"
    with psycopg.connect(run.postgres.url) as connection:
        row = connection.execute(query, ([host.name for host in hosts],)).fetchone()
    assert row is not None
    return int(row[0])
