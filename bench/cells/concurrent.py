"""Many 1-step workflows at a time, called directly, in threads and on an event loop, in one and in two executors."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bench.cells import floor
from bench.figures import Figure
from bench.program import Program
from bench.stage import Stage
from bench.systems import OURS, System

FAMILY = "concurrent"
BEST = "best INSERT rate, in durable rows"
ROWS = 3  # durable rows of a 1-step workflow: its start, its checkpoint, its end
GOALS = {("threads", 1): "must 0.6, aim 1", ("threads", 2): "must 0.9, aim 1.5", ("async", 1): "must 1.2, aim 2"}


def measure(stage: Stage, system: System) -> None:
    for kind in ("threads", "async"):
        for executors in (1, 2) if system is OURS and stage.scale.name != "tiny" else (1,):
            _measure(stage, system, kind, executors)


def _measure(stage: Stage, system: System, kind: str, executors: int) -> None:
    callers = system.callers * (4 if kind == "async" and system is OURS else 1)
    # Slower ones get longer, or the cell would hold a handful.
    seconds = stage.scale.seconds * (1 if system is OURS else 1.5)
    with stage.database(system) as url:
        results = together(system, "concurrent", url, executors, kind=kind, seconds=seconds,
                           concurrency=callers)  # fmt: skip
    rate = sum(each["count"] for each in results) / seconds
    best = floor.best_rate(stage)
    ratios = {BEST: ROWS * rate / best} if best else {}
    goals = {BEST: GOALS[kind, executors]} if system is OURS and (kind, executors) in GOALS else {}
    count = sum(each["count"] for each in results)
    stage.add(
        Figure(
            FAMILY, f"1-step workflows, {kind}, {executors} executor{'s' if executors > 1 else ''}", system.name, "/s",
            rate, max(each["p50"] for each in results) * 1000, max(each["p99"] for each in results) * 1000,
            spread_unit="ms", ratios=ratios, samples=count, goals=goals,
            note=f"{callers} callers each; {ROWS * rate:,.0f} durable rows/s; "
            f"client {sum(each['cpu'] for each in results) * 1e6 / max(1, count):,.0f} us CPU each",
        )
    )  # fmt: skip


def together(system: System, command: str, url: str, processes: int, **options: Any) -> list[dict[str, Any]]:
    """The same program several times, begun together once all are ready."""
    with ExitStack() as stack:
        programs = []
        for _ in range(processes):
            # One after another: all would install the schema at the same time.
            programs.append(stack.enter_context(Program(system, command, url, **options)))
            programs[-1].wait("ready")
        for program in programs:
            program.go()
        return [dict(program.wait("result")["result"]) for program in programs]
