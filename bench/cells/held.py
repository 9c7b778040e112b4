"""Queues drained while somebody holds a snapshot: what is gone cannot be removed, and everything walks around it.

The last quarter of a backlog is compared with the first one. As many rows are pushed through as the scale allows, in as
little time as they take: what slows claims down is their number, not the age of the snapshot.
"""

from __future__ import annotations

from typing import Any

from bench.cells.drain import drain
from bench.figures import Figure
from bench.report import quantile
from bench.stage import Stage
from bench.systems import OURS

FAMILY = "held"
LANES = 20
FIRST = "its first quarter"
# What is queued, and what share of the scale's rows is pushed through.
QUEUES: dict[str, tuple[dict[str, Any], float]] = {
    "1-step workflows, async": ({}, 1.0),
    f"1-step workflows, async, in {LANES} partitions": ({"partition_queue": True}, 0.6),
    "1-step workflows, async, concurrency 64": ({"concurrency": 64}, 0.4),
}


def measure(stage: Stage) -> None:
    executors = min(2, max(stage.scale.executors))
    names = list(QUEUES)[:1] if stage.scale.name == "tiny" else list(QUEUES)
    for name in names:
        limits, share = QUEUES[name]
        drained = drain(
            stage, OURS, count=int(stage.scale.held * share), steps=1, executors=executors, kind="async",
            queues={"work": limits}, lanes=LANES if "partition_queue" in limits else 0, holds_snapshot=True,
            seconds=stage.scale.held / 500,
        )  # fmt: skip
        first, last = (rate(drained.looks, *part) for part in ((0.02, 0.25), (0.75, 0.98)))
        stage.add(
            Figure(
                FAMILY, f"{name}, {executors} executor{'s' if executors > 1 else ''}", OURS.name, "/s", drained.rate,
                quantile(drained.windows, 0.5), quantile(drained.windows, 0.01), samples=drained.finished,
                ratios={FIRST: last / first} if first and last else {},
                note=f"{drained.finished:,} under one snapshot; the last quarter {last:,.0f} /s",
            )
        )  # fmt: skip


def rate(looks: list[tuple[float, int]], begin: float, end: float) -> float:
    """Between two shares of what was finished in the end."""
    done = looks[-1][1]
    part = [look for look in looks if begin * done <= look[1] <= end * done]
    if len(part) < 2 or part[-1][0] == part[0][0]:
        return 0.0
    return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])
