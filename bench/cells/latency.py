"""From enqueue to the first line of the workflow in another process, and to its result back here, with nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bench.figures import latency
from bench.program import Program
from bench.stage import Stage
from bench.systems import OURS, System

FAMILY = "latency"


def measure(stage: Stage, system: System) -> None:
    _add(stage, system, system.queues, "" if system is OURS else ", polled every 50 ms")
    if system is not OURS and stage.scale.name == "full":
        _add(stage, system, None, ", default polling")


def _add(stage: Stage, system: System, queues: dict[str, Any] | None, how: str) -> None:
    own = {"queues": queues} if queues else {}
    # Theirs take a second each.
    count = stage.scale.latencies if system is OURS else max(3, stage.scale.latencies // 4)
    with stage.database(system) as url, ExitStack() as stack:
        worker = stack.enter_context(Program(system, "work", url, **own))
        worker.wait("ready")
        worker.go()
        worker.wait("launched")
        client = stack.enter_context(Program(system, "latency", url, count=count, pause=0.05, **own))
        client.wait("ready")
        client.go()
        got = client.wait("result")["result"]
    goal = "p50 must 5 ms, aim 2 ms; p99 must 25 ms"
    stage.add(
        latency(FAMILY, f"enqueue to start, idle{how}", system.name, got["start"], samples=count,
                goals={"": goal} if system is OURS else {}),
        latency(FAMILY, f"enqueue to result, idle{how}", system.name, got["result"], samples=count),
    )  # fmt: skip
