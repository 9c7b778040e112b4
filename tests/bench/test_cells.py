"""Every cell of `python -m bench compare` runs for this engine, at a size that says nothing about time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import compare
from bench.cells import claims, concurrent, cost, drain, enqueue, floor, held, latency, limits, parts, sequential
from bench.stage import TINY, Stage
from bench.systems import OURS


@pytest.mark.parametrize(
    "family", [sequential, concurrent, enqueue, drain, latency, cost], ids=lambda module: module.FAMILY
)
def test_cells_of_every_system(stage: Stage, family: object) -> None:
    measure: Callable[[Stage, object], None] = family.measure  # type: ignore[attr-defined]
    measure(stage, OURS)

    assert stage.figures
    assert [figure.key for figure in stage.figures if not figure.value > 0] == []


def test_a_run_ends_in_a_table(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    compare.run(stage, [OURS], only=["enqueue"])
    compare.finish(stage, TINY, [OURS], keep=False)

    table = capsys.readouterr().out
    assert "| in bulk | pyengine |" in table
    assert "| INSERT, 1 connection | psycopg |" in table
    assert stage.failures == {}


@pytest.mark.parametrize("family", [floor, parts, limits, claims, held], ids=lambda module: module.FAMILY)
def test_cells_of_their_own(stage: Stage, family: object) -> None:
    family.measure(stage)  # type: ignore[attr-defined]

    assert stage.figures
    # How much of a rate is left depends on the machine, so nothing is said about ratios.
    assert [figure.key for figure in stage.figures if not figure.value > 0] == []
