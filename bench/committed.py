"""What a run lost against the committed one. Ratios only: they outlive the machine they were measured on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bench import report

TOLERANCE = 0.2
# A time compared with a time: less is better. A rate compared with a rate: more is.
LESS_IS_BETTER = {"ms", "us", "KB"}


def drops(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Ratios that are more than 20 % worse than those in bench/results/."""
    path = report.RESULTS / f"compare-{name}.json"
    if not path.exists():
        return
    before = dict(_ratios(json.loads(path.read_text())))
    for key, (value, unit) in _ratios(result):
        if key in before:
            old = before[key][0]
            worse = value / old - 1 if unit in LESS_IS_BETTER else old / value - 1 if value else 1.0
            # 20 % less of a rate is 25 % more of its inverse.
            allowed = TOLERANCE if unit in LESS_IS_BETTER else 1 / (1 - TOLERANCE) - 1
            if old and worse > allowed:
                yield f"{key}: {value:.2f} x, committed {old:.2f} x"


def _ratios(result: dict[str, Any]) -> Iterator[tuple[str, tuple[float, str]]]:
    for figure in result.get("figures", ()):
        if figure["system"] == "pyengine":
            for to, value in figure["ratios"].items():
                yield f"{figure['family']} / {figure['cell']} to {to}", (float(value), str(figure["unit"]))
