"""A backlog that executors on one or two hosts, begun together, work off.

The rate is that between the first and the last tenth of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import psycopg

from bench.figures import Figure
from bench.hosts import Host
from bench.hosts import hosts as simulated
from bench.program import Program
from bench.report import quantile
from bench.snapshot import Snapshot
from bench.stage import Scale, Stage, Usage
from bench.systems import OURS, System

FAMILY = "drain"
LOOK_SECONDS = 0.1
LONGEST = 2.0  # times the seconds of a cell: a machine or a system slower than expected is not waited for


@dataclass
class Drained:
    rate: float
    windows: list[float]  # rates between two looks
    finished: int
    begun: Usage  # before the filling
    ended: Usage
    client_cpu: float
    seen: list[Any] = field(default_factory=list)  # what `look` found
    where: str = ""  # of simulated hosts
    looks: list[tuple[float, int]] = field(default_factory=list)  # when, how many were finished


@dataclass(frozen=True)
class Cell:
    steps: int
    executors: int
    hosts: int = 1  # more than one: each behind a link that takes its time
    kind: str = "threads"

    @property
    def name(self) -> str:
        said = "no-op job" if self.steps == 0 else f"{self.steps}-step workflow"
        said += ", async" if self.kind == "async" else ""
        said += f", {self.executors} executor{'s' if self.executors > 1 else ''}"
        if self.hosts > 1:
            said += " on a host of its own" if self.executors == 1 else f" on {self.hosts} hosts"
        return said


def measure(stage: Stage, system: System) -> None:
    for cell in cells(stage.scale, system):
        _add(stage, system, cell)


def cells(scale: Scale, system: System) -> list[Cell]:
    if scale.name == "tiny":
        return [Cell(1, 2, hosts=2), Cell(0, 1, kind="async")]
    is_full = scale.name == "full"
    if system is OURS and is_full:
        found = [Cell(steps, each, hosts) for hosts in (1, 2) for steps in (0, 1, 10) for each in scale.executors]
        found += [Cell(steps, 2, hosts, "async") for hosts in (1, 2) for steps in (0, 1)]
    elif system is OURS:
        found = [Cell(1, each) for each in scale.executors]
        found += [Cell(0, 2), Cell(1, 2, hosts=2), Cell(1, 2, kind="async"), Cell(0, 2, kind="async")]
    elif is_full:
        found = [*(Cell(1, each) for each in scale.executors), Cell(0, 2), Cell(10, 2), Cell(1, 2, hosts=2)]
    else:
        found = [Cell(1, 2)]
    if system is not OURS and system.calls_directly and is_full:
        found.append(Cell(1, 2, kind="async"))
    if not system.has_steps:
        found = [replace(cell, steps=0) for cell in found]
    return list(dict.fromkeys(found))


def _add(stage: Stage, system: System, cell: Cell) -> None:
    rate = (cell.kind == "async" and system.async_rate) or system.rate
    rate *= {0: 1.3, 1: 1.0, 10: 0.3}[cell.steps] * (1 + 0.5 * (cell.executors > 1))
    count = max(20, int(rate * stage.scale.seconds))
    drained = drain(
        stage, system, count=count, steps=cell.steps, executors=cell.executors, hosts=cell.hosts, kind=cell.kind,
        seconds=stage.scale.seconds * LONGEST,
    )  # fmt: skip
    note = f"p99: the slowest of the stretches of {LOOK_SECONDS * 1000:.0f} ms"
    stage.add(
        Figure(
            FAMILY, cell.name, system.name, "/s", drained.rate, quantile(drained.windows, 0.5),
            quantile(drained.windows, 0.01), samples=drained.finished,
            note=f"{note}; {drained.where}" if drained.where else note,
        )
    )  # fmt: skip


def drain(
    stage: Stage,
    system: System,
    *,
    count: int,
    steps: int,
    executors: int,
    hosts: int = 1,
    kind: str = "threads",
    queues: dict[str, Any] | None = None,
    lanes: int = 0,
    look: Callable[[Any], Any] | None = None,
    seconds: float | None = None,
    holds_snapshot: bool = False,
) -> Drained:
    """`look` is called with a connection at each look. After so many `seconds` with work it is enough, done or not.
    `holds_snapshot`: somebody else holds one from before the filling to the end.
    """
    own: dict[str, Any] = {"queues": queues or system.queues} if queues or system.queues else {}
    extra = {"lanes": lanes} if lanes else {}
    patience = max(30.0, stage.scale.seconds * 10)
    with stage.database(system) as url, ExitStack() as stack:
        if holds_snapshot:
            stack.enter_context(Snapshot(url)).hold(True)
        places: list[Host | None] = [None]
        if hosts > 1:
            places = list(stack.enter_context(simulated(hosts, url)))
        # What takes time at their start takes it beside the filling's.
        programs = [
            stack.enter_context(Program(system, "work", url, places[number % len(places)], **own))
            for number in range(executors)
        ]
        with Program(system, "fill", url, count=count, steps=steps, kind=kind, **own, **extra) as filler:
            for program in (filler, *programs):
                program.wait("ready")
            begun = stage.usage()  # with the schema installed
            filler.go()
            filled = filler.wait("result")["result"]
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        for program in programs:
            program.go()
        looks, seen = _watch(connection, system, count, patience, look, seconds)
        ended = stage.usage()
        cpu = filled["cpu"] + sum(program.end()["cpu"] for program in programs)
    where = places[0].note if places[0] else ""
    return Drained(*_rates(looks), looks[-1][1], begun, ended, cpu, seen, where, looks)


def _watch(
    connection: Any,
    system: System,
    count: int,
    patience: float,
    look: Callable[[Any], Any] | None,
    seconds: float | None,
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
        if len(looks) > 1 and looks[-2][1] == 0 < done and seconds is not None:
            until = time.monotonic() + seconds
        if time.monotonic() > until:
            if done == 0:
                raise RuntimeError(f"{system.name} finished nothing in {patience} s")
            return looks, seen
        time.sleep(LOOK_SECONDS)


def _rates(looks: list[tuple[float, int]]) -> tuple[float, list[float]]:
    """Without the first and the last tenth: not all have begun, or some have nothing left."""
    done = looks[-1][1]
    middle = [look for look in looks if done * 0.1 <= look[1] <= done * 0.9]
    if len(middle) < 2 or middle[-1][1] - middle[0][1] < done * 0.3:
        # Too quick for that: from the last look at nothing to the first at all.
        first = max((look for look in looks if look[1] == looks[0][1]), key=lambda look: look[0])
        middle = [first, *(look for look in looks if look[0] > first[0])]
    windows = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(middle)]
    if not windows:
        return 0.0, [0.0]
    return (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0]), windows
