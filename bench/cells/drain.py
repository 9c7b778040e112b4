"""A backlog that executors, begun together, work off. The rate between the first and the last twentieth of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psycopg

from bench.figures import Figure
from bench.program import Program
from bench.report import quantile
from bench.stage import Stage, Usage
from bench.systems import OURS, System

FAMILY = "drain"
LOOK_SECONDS = 0.1


@dataclass
class Drained:
    rate: float
    windows: list[float]  # rates between two looks
    finished: int
    begun: Usage  # before the filling
    ended: Usage
    client_cpu: float
    seen: list[Any] = field(default_factory=list)  # what `look` found


def measure(stage: Stage, system: System) -> None:
    scale = stage.scale
    cells = [(steps, executors) for steps in (0, 1, 10) for executors in scale.executors]
    if scale.name == "tiny":
        cells = cells[:1]
    elif not scale.drain_all:
        few = 2 if 2 in scale.executors else scale.executors[0]
        cells = [(1, each) for each in scale.executors] if system is OURS else [(1, few)]
        cells += [(0, few), (10, few)] if system is OURS else []
    if not system.has_steps:
        cells = sorted({(0, executors) for _, executors in cells})
    for steps, executors in cells:
        _add(stage, system, steps, executors, "threads")
    if system.calls_directly:
        _add(stage, system, 1, 2 if 2 in scale.executors else scale.executors[0], "async")


def _add(stage: Stage, system: System, steps: int, executors: int, kind: str) -> None:
    rate = system.rate * {0: 1.3, 1: 1.0, 10: 0.3}[steps] * (1 + 0.5 * (executors > 1))
    count = max(20, int(rate * stage.scale.seconds))
    drained = drain(stage, system, count=count, steps=steps, executors=executors, kind=kind)
    name = "no-op job" if steps == 0 else f"{steps}-step workflow"
    stage.add(
        Figure(
            FAMILY, f"{name}{', async' if kind == 'async' else ''}, {executors} executor{'s' if executors > 1 else ''}",
            system.name, "/s", drained.rate, quantile(drained.windows, 0.5), quantile(drained.windows, 0.01),
            samples=drained.finished,
            note=f"p99: the slowest of the stretches of {LOOK_SECONDS * 1000:.0f} ms",
        )
    )  # fmt: skip


def drain(
    stage: Stage,
    system: System,
    *,
    count: int,
    steps: int,
    executors: int,
    kind: str = "threads",
    queues: dict[str, Any] | None = None,
    lanes: int = 0,
    look: Callable[[Any], Any] | None = None,
) -> Drained:
    """`look` is called with a connection at each look."""
    own: dict[str, Any] = {"queues": queues or system.queues} if queues or system.queues else {}
    extra = {"lanes": lanes} if lanes else {}
    patience = max(30.0, stage.scale.seconds * 10)
    with stage.database(system) as url, ExitStack() as stack:
        with Program(system, "fill", url, count=count, steps=steps, kind=kind, **own, **extra) as filler:
            filler.wait("ready")
            begun = stage.usage()  # with the schema installed
            filler.go()
            filled = filler.wait("result")["result"]
        programs = [stack.enter_context(Program(system, "work", url, **own)) for _ in range(executors)]
        for program in programs:
            program.wait("ready")
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        for program in programs:
            program.go()
        looks, seen = _watch(connection, system, count, patience, look)
        ended = stage.usage()
        cpu = filled["cpu"] + sum(program.end()["cpu"] for program in programs)
    return Drained(*_rates(looks, count), looks[-1][1], begun, ended, cpu, seen)


def _watch(
    connection: Any, system: System, count: int, patience: float, look: Callable[[Any], Any] | None
) -> tuple[list[tuple[float, int]], list[Any]]:
    looks: list[tuple[float, int]] = []
    seen = []
    until = time.monotonic() + patience
    while True:
        (done,) = connection.execute(system.done.encode(), {"count": count}).fetchone()
        looks.append((time.monotonic(), int(done)))
        if look is not None:
            seen.append(look(connection))
        if done >= count:
            return looks, seen
        if time.monotonic() > until:
            if done == 0:
                raise RuntimeError(f"{system.name} finished nothing in {patience} s")
            return looks, seen
        time.sleep(LOOK_SECONDS)


def _rates(looks: list[tuple[float, int]], count: int) -> tuple[float, list[float]]:
    """Without the first and the last twentieth: not all have begun, or some have nothing left."""
    middle = [look for look in looks if count * 0.05 <= look[1] <= count * 0.95]
    if len(middle) < 2 or middle[-1][1] - middle[0][1] < count * 0.3:
        # Too quick for that: from the last look at nothing to the first at all.
        first = max((look for look in looks if look[1] == looks[0][1]), key=lambda look: look[0])
        middle = [first, *(look for look in looks if look[0] > first[0])]
    windows = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(middle)]
    if not windows:
        return 0.0, [0.0]
    return (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0]), windows
