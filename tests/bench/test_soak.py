"""The steady load of `python -m bench soak` for a moment, and what is called drift."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import plots, report, soak
from bench.soak import Load, Sample
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

    found = soak.verdict([*calm, *end], warm=40)

    assert [drift.figure for drift in found if drift.is_too_much] == named


def test_what_is_still_filling_up_is_no_drift() -> None:
    filling = [replace(CALM, at=float(at), table_mb=at / 2, kept=at * 300) for at in range(0, 200, 10)]
    steady = [replace(CALM, at=float(at)) for at in range(200, 600, 10)]

    assert not any(drift.is_too_much for drift in soak.verdict([*filling, *steady], warm=200))
    assert soak.verdict(filling, warm=200) == []
