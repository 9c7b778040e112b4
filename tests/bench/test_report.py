"""What is made of figures: the table, and what a run lost against the committed one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import committed, report
from bench.figures import Figure, latency, markdown

ABOUT = {
    "scale": "quick",
    "machine": {"cpu": "a processor", "cores": 2, "system": "Linux", "python": "3.12", "load_at_start": [0.1]},
    "server": {"origin": "started by the suite", "postgres": "18.1", "fsync": "on"},
}


def result(**ratios: float) -> dict[str, Any]:
    step = latency("sequential", "one step", "pyengine", {"p50": 0.001, "p99": 0.002}, goals={"INSERT": "must 1.5"})
    step.ratios["INSERT"] = ratios["step"]
    drained = Figure(
        "drain", "1-step", "pyengine", "/s", 4000.0, ratios={"dbos": ratios["drained"]}, goals={"dbos": "must 10"}
    )
    return {"figures": [step.as_dict(), drained.as_dict()]}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.write("compare-quick", result(step=1.5, drained=20.0))
    return tmp_path


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({"step": 1.5, "drained": 20.0}, []),
        ({"step": 1.7, "drained": 17.0}, []),
        ({"step": 0.5, "drained": 90.0}, []),
        ({"step": 1.9, "drained": 20.0}, ["sequential / one step to INSERT"]),
        ({"step": 1.5, "drained": 15.0}, ["drain / 1-step to dbos"]),
    ],
)
def test_a_drop_of_a_ratio_is_named(now: dict[str, float], named: list[str]) -> None:
    assert [line.partition(":")[0] for line in committed.drops("quick", result(**now))] == named


def test_nothing_is_lost_against_nothing(results: Path) -> None:
    assert list(committed.drops("full", result(step=9.0, drained=0.1))) == []


def test_the_table_says_what_was_measured_where_and_what_is_durable() -> None:
    figure = latency("sequential", "one step", "pyengine", {"p50": 0.001, "p99": 0.002}, goals={"INSERT": "must 1.5"})
    figure.ratios["INSERT"] = 1.4

    table = markdown(ABOUT, [figure], {"pyengine": "every step"}, {"pyengine": "defaults"})

    assert "a processor, 2 cores" in table
    assert "fsync on" in table
    assert "| sequential: one step | 1.40 x | INSERT | must 1.5 |" in table
    assert "| one step | pyengine | 1.00 ms | 1.00 ms | 2.00 ms | 1.40 x INSERT |" in table
    assert "| pyengine | every step | defaults |" in table
