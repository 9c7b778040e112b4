"""The steady load of `python -m bench soak` for a moment, and what is called drift."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import drift, plots, report, soak
from bench.drift import Sample
from bench.snapshot import Snapshot
from bench.soak import Load
from bench.stage import Stage

CALM = Sample(
    at=0.0, start_p50_ms=4.0, start_p99_ms=20.0, result_p50_ms=20.0, result_p99_ms=50.0, probes=50, table_mb=100.0,
    index_mb=60.0, dead_rows=10_000, in_flight=40, kept=60_000, finished=1000, executor_mb=80.0, wal_mb=10.0,
)  # fmt: skip


def test_a_moment_of_steady_load(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = soak.measure(stage, Load(seconds=1.0, every=0.5, keep_for=0.2, rate=40.0))

    assert len(samples) == 2
    assert samples[-1].finished > 0
    assert samples[-1].table_mb > 0
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    drawn = plots.draw_soak({**stage.about, "load": {"rate": 40.0, "keep_for": 0.5}, "samples": [CALM.__dict__] * 2})
    assert drawn is None or drawn.exists()  # without matplotlib there is none


def test_a_snapshot_is_held_in_the_middle_of_it(stage: Stage) -> None:
    load = Load(seconds=30.0, every=0.5, keep_for=0.2, rate=40.0, naptime=1.0, hold=4.0)
    assert load.held == (16.4, 20.4)
    holders = []
    with (
        stage.database() as url,
        Snapshot(url) as snapshot,
        psycopg.connect(stage.url, autocommit=True) as session,
    ):
        for wanted in (False, True, True, False, True):
            snapshot.hold(wanted)
            holders.append(_holders(session, url))
        assert holders == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("during", "after", "named"),
    [
        ({"table_mb": 3000.0, "dead_rows": 10**7}, {"table_mb": 3000.0}, []),
        ({"start_p99_ms": 900.0}, {}, ["held: start_p99_ms"]),
        ({"in_flight": 90_000}, {"dead_rows": 10**6}, ["held: in_flight", "after: dead_rows"]),
        ({}, {"executor_mb": 200.0}, ["after: executor_mb"]),
    ],
)
def test_what_a_held_snapshot_may_do_and_what_it_may_leave(
    during: dict[str, float], after: dict[str, float], named: list[str]
) -> None:
    samples = [
        replace(CALM, at=float(at), **({} if at <= 100 else during if at <= 200 else after))  # type: ignore[arg-type]
        for at in range(0, 300, 10)
    ]
    found = drift.verdict_of_hold(samples, 40, (100, 200))

    assert [each.figure for each in found if each.is_too_much] == named
    assert drift.verdict_of_hold(samples[:20], 40, (100, 200)) == []


def _holders(session: psycopg.Connection[Any], url: str) -> int:
    """How many sessions keep a snapshot of that database."""
    row = session.execute(
        "select count(*) from pg_stat_activity where datname = %s and backend_xmin is not null",
        (url.rsplit("/", 1)[1].split("?")[0],),
    ).fetchone()
    assert row is not None
    found: int = row[0]
    return found


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, []),
        ({"start_p50_ms": 6.0, "executor_mb": 90.0, "dead_rows": 30_000}, []),
        ({"executor_mb": 110.0}, ["executor_mb"]),
        ({"table_mb": 150.0, "kept": 90_000}, ["table_mb", "kept"]),
        ({"start_p99_ms": 500.0, "result_p99_ms": float("inf")}, ["start_p99_ms", "result_p99_ms"]),
    ],
)
def test_what_grew_between_the_first_and_the_last_quarter_is_drift(change: dict[str, float], named: list[str]) -> None:
    calm = [replace(CALM, at=float(at)) for at in range(0, 120, 10)]
    end = [replace(CALM, at=float(at), **change) for at in range(120, 160, 10)]  # type: ignore[arg-type]

    found = drift.verdict([*calm, *end], warm=40)

    assert [each.figure for each in found if each.is_too_much] == named


def test_what_is_still_filling_up_is_no_drift() -> None:
    filling = [replace(CALM, at=float(at), table_mb=at / 2, kept=at * 300) for at in range(0, 200, 10)]
    steady = [replace(CALM, at=float(at)) for at in range(200, 600, 10)]

    assert not any(each.is_too_much for each in drift.verdict([*filling, *steady], warm=200))
    assert drift.verdict(filling, warm=200) == []
