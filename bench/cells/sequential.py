"""One thing after another: what a caller waits for, compared with the INSERT of the same program, by turns."""

from __future__ import annotations

from bench.figures import latency
from bench.program import call
from bench.stage import Stage
from bench.systems import OURS, System

FAMILY = "sequential"
CELLS = {"step": "one step", "workflow": "1-step workflow", "enqueue": "enqueue"}
GOALS = {"step": "must 1.5, aim 1.3", "workflow": "must 4.5, aim 3.5"}


def measure(stage: Stage, system: System) -> None:
    # A median needs no more of those that take longer.
    blocks = stage.scale.blocks if system is OURS else -(-stage.scale.blocks // 3)
    with stage.database(system) as url:
        got = call(system, "sequential", url, blocks=blocks, each=20)
    insert = got["insert"]
    stage.add(latency(FAMILY, "INSERT (by turns)", system.name, insert, samples=got["count"]))
    for key, cell in CELLS.items():
        if key in got:
            ratios = {"INSERT": got[key]["p50"] / insert["p50"]}
            stage.add(
                latency(
                    FAMILY,
                    cell,
                    system.name,
                    got[key],
                    ratios=ratios,
                    samples=got["count"],
                    goals={"INSERT": GOALS[key]} if key in GOALS and system is OURS else {},
                )
            )
