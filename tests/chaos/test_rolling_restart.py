"""All hosts are started again, one after the other, while work comes in."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from plugins.chaos.run import Run

from .conftest import Stage

# How long a workflow of the unlimited queue waited for its claim, in seconds
WAITS = """
    select extract(epoch from min(a.at) - w.created_at)::float8
    from pyengine.workflows as w
    join pyengine.outcomes as o using (workflow_id)
    join ledger.acts as a using (workflow_id)
    where a.act = 'claim' and o.queue = 'plain' and o.run_at is null
    group by w.workflow_id, w.created_at
    order by 1
"""
RUN_TWICE = """
    select workflow_id, step_id, count(*) from ledger.effects group by 1, 2 having count(*) > 1
"""


@pytest.mark.timeout(400)
def test_a_rolling_restart_loses_nothing_and_runs_no_step_twice(stage: Stage, tmp_path: Path) -> None:
    with stage.run(hosts=4, workers=1, ttl=5, per_second=8) as run:
        for host in run.hosts:
            host.add("v1")
        run.start()
        finished(run, 20)
        for host in run.hosts:
            (slot,) = host.slots
            assert slot.program is not None
            program = slot.program
            host.drain([slot], back_after=0.0)
            # The others keep working; this one comes back when it has ended.
            run.go_on(lambda program=program, slot=slot: slot.program is not program, f"{host.name} is started again")
            assert program.wait(1) == 0, program.report()
            run.wait_until_registered()
            finished(run, 20)
        report = stage.in_good_order(run, tmp_path / "logs")

        with psycopg.connect(run.postgres.url) as connection:
            waits = [wait for (wait,) in connection.execute(WAITS).fetchall()]
            twice = connection.execute(RUN_TWICE).fetchall()
        stage.say(
            f"waited for a claim: p50 {waits[len(waits) // 2]:.3f} s, p99 {waits[int(len(waits) * 0.99)]:.3f} s"
            f" of {len(waits)}; enqueue p99 {sorted(run.load.delays)[int(len(run.load.delays) * 0.99)]:.3f} s"
        )
        assert twice == []
        assert report.facts["crashes counted"] == 0
        assert set(report.facts["deaths"]) <= {"retired", "handed_over"}


def finished(run: Run, more: int) -> None:
    """Go on until so many workflows more have ended."""

    def count() -> int:
        with psycopg.connect(run.postgres.url) as connection:
            row = connection.execute("select count(*) from pyengine.outcomes").fetchone()
        assert row is not None
        return int(row[0])

    wanted = count() + more
    run.go_on(lambda: count() >= wanted, f"{more} more workflows have ended")
