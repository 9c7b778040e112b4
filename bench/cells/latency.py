"""From enqueue to the first line of the workflow in another process, and to its result back here: idle, and loaded.

Loaded: something else runs at half of the rate that one executor drains, on another queue of the same executor or (in a
full run) in another executor on the same cores.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from bench.cells import drain
from bench.figures import latency
from bench.program import Program
from bench.stage import Stage
from bench.systems import OURS, System

FAMILY = "latency"
SETTLE_SECONDS = 1.0
QUEUE, EXECUTOR = "another queue", "another executor"  # what the load is on
GOAL = "p50 must 5 ms, aim 2 ms; p99 must 25 ms"


def measure(stage: Stage, system: System) -> None:
    limits = (system.queues or {"work": {}})["work"]
    is_full = stage.scale.name == "full"
    if system is OURS:
        _add(stage, system, limits, "", ["", QUEUE])
        if is_full:
            _add(stage, system, limits, "", [EXECUTOR])
    else:
        # A result takes it a second, so a quick run asks of it only the idle one.
        _add(stage, system, limits, ", polled every 50 ms", ["", QUEUE] if is_full else [""])
        if is_full:
            _add(stage, system, {}, ", default polling", [""])


def _add(stage: Stage, system: System, limits: dict[str, Any], polled: str, loads: list[str]) -> None:
    """One after the other beside the same processes: idle, and with the load."""
    both = {"work": limits, "load": limits}
    is_apart = EXECUTOR in loads
    served: list[dict[str, Any]] = [{"work": limits}, {"load": limits}] if is_apart else [both]
    count = awaited = stage.scale.latencies
    if system is not OURS:
        count, awaited = -(-count // 2), max(3, count // 20)
    with stage.database(system) as url, ExitStack() as stack:
        client = stack.enter_context(
            Program(system, "latency", url, rounds=len(loads), count=count, pause=stage.scale.pause, awaited=awaited,
                    queues={"work": limits})
        )  # fmt: skip
        client.wait("ready")
        workers = [stack.enter_context(Program(system, "work", url, queues=queues)) for queues in served]
        for worker in workers:
            worker.wait("ready")
            worker.go()
            worker.wait("launched")
        for load in loads:
            presser = _press(stage, stack, system, url, both) if load else None
            client.go()
            got = client.wait("result")["result"]
            said = f"beside {presser.end()['rate']:,.0f} 1-step workflows/s" if presser else ""
            how = f"loaded by {load}" if load else "idle"
            stage.add(
                latency(FAMILY, f"enqueue to start, {how}{polled}", system.name, got["start"], samples=count, note=said,
                        goals={"": GOAL} if system is OURS and not load else {}),
                latency(FAMILY, f"enqueue to result, {how}{polled}", system.name, got["result"],
                        samples=min(count, awaited), note=said),
            )  # fmt: skip


def _press(stage: Stage, stack: ExitStack, system: System, url: str, queues: dict[str, Any]) -> Program:
    """Begin the load."""
    rate = capacity(stage, system) / 2
    presser = stack.enter_context(
        Program(system, "press", url, queue="load", rate=rate, callers=system.callers, queues=queues)
    )
    presser.wait("ready")
    presser.go()
    presser.wait("pressing")
    time.sleep(SETTLE_SECONDS)
    return presser


def capacity(stage: Stage, system: System) -> float:
    """What one executor drains a second: as measured before in this run, else now."""
    cell = drain.Cell(1, 1)
    for figure in stage.figures:
        if (figure.family, figure.cell, figure.system) == (drain.FAMILY, cell.name, system.name):
            return figure.value
    count = max(20, int(system.rate * stage.scale.seconds))
    return drain.drain(stage, system, count=count, steps=1, executors=1).rate
