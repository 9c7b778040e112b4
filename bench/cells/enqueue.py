"""Many callers that enqueue at the same time, while nobody runs what they enqueue."""

from __future__ import annotations

from bench.cells import floor
from bench.cells.concurrent import together
from bench.figures import Figure
from bench.stage import Stage
from bench.systems import OURS, System

FAMILY = "enqueue"
ONE, BULK = "one at a time, many callers", "in bulk"


def measure(stage: Stage, system: System) -> None:
    _one_at_a_time(stage, system)
    if system.has_bulk or stage.scale.name == "full":
        _in_bulk(stage, system)


def _in_bulk(stage: Stage, system: System) -> None:
    own = {"queues": system.queues} if system.queues else {}
    count = max(20, int(system.rate * (2 if system is OURS else 1) * stage.scale.seconds))
    with stage.database(system) as url:
        (got,) = together(system, "fill", url, 1, count=count, steps=1, kind="threads", **own)
    rate, best = count / got["seconds"], floor.best_rate(stage)
    stage.add(
        Figure(
            FAMILY, BULK, system.name, "/s", rate, got["p50"] * 1000, got["p99"] * 1000, spread_unit="ms",
            samples=count, note=f"{system.bulk}; {got['cpu'] * 1e6 / count:,.0f} us CPU each",
            ratios={"best INSERT rate": rate / best} if best else {},
        )
    )  # fmt: skip


def _one_at_a_time(stage: Stage, system: System) -> None:
    with stage.database(system) as url:
        (got,) = together(system, "enqueue_many", url, 1, kind="threads", seconds=stage.scale.seconds,
                          concurrency=system.callers)  # fmt: skip
    rate = got["count"] / stage.scale.seconds
    best = floor.best_rate(stage)
    stage.add(
        Figure(
            FAMILY, ONE, system.name, "/s", rate, got["p50"] * 1000, got["p99"] * 1000,
            spread_unit="ms", samples=got["count"], ratios={"best INSERT rate": rate / best} if best else {},
            note=f"{system.callers} callers in one process; {got['cpu'] * 1e6 / max(1, got['count']):,.0f} us CPU each",
        )
    )  # fmt: skip
