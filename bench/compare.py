"""All cells of all systems in one run, one after another, each on a fresh database of the same server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from bench import committed, environments, plots, readme, report
from bench.cells import claims, concurrent, cost, drain, enqueue, floor, held, latency, limits, parts, sequential
from bench.figures import Figure, markdown
from bench.stage import FULL, QUICK, TINY, Scale, Stage, stage
from bench.systems import EVERYBODY, OURS, PEERS, System

OF_SYSTEMS: dict[str, Callable[[Stage, System], None]] = {
    "sequential": sequential.measure,
    "concurrent": concurrent.measure,
    "enqueue": enqueue.measure,
    "drain": drain.measure,
    "latency": latency.measure,
    "cost": cost.measure,
}
OF_OURS: dict[str, Callable[[Stage], None]] = {
    "parts": parts.measure,
    "limits": limits.measure,
    "claims": claims.measure,
    "held": held.measure,
}
# Whom a cell of ours is compared with. The higher of the two is the stricter ratio.
ALL_PEERS = tuple(peer.name for peer in PEERS)
WITH_STEPS = frozenset(peer.name for peer in PEERS if peer.has_steps)
NO_OPS = "no-op job, async, 2 executors"
COROUTINES = frozenset(peer.name for peer in PEERS if peer.runs_coroutines)
AGAINST = {"concurrent": ("dbos 3.4.0",), "drain": ALL_PEERS, "enqueue": ALL_PEERS}


def compare(
    quick: Annotated[bool, typer.Option("--quick", help="About three minutes. The default.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Half an hour: longer cells, 1M backlog, all drains.")] = False,
    tiny: Annotated[bool, typer.Option("--tiny", help="Only shows that all runs: the figures mean nothing.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only these families of cells.")] = None,
    system: Annotated[list[str] | None, typer.Option(help="Only these systems, by the first word.")] = None,
    caveat: Annotated[str, typer.Option(help="A sentence that stands above the table.")] = "",
    keep: Annotated[
        bool, typer.Option(help="Write bench/results/, and of a quick run README.md (never with --only or --system).")
    ] = True,
) -> None:
    """This engine, its peers and the physical floor, side by side."""
    scale = TINY if tiny else FULL if full and not quick else QUICK
    wanted = [each for each in EVERYBODY if not system or each.name.split()[0] in system or each.name in system]
    began = time.monotonic()
    ready, missing = _prepare(wanted)
    since = time.monotonic()
    with stage(scale) as on:
        on.failures |= missing
        on.about["caveat"] = caveat
        run(on, ready, only)
    print(f"bench: {time.monotonic() - since:.0f} s, and {since - began:.0f} s for environments", file=sys.stderr)
    finish(on, scale, ready, keep=keep and not (only or system or tiny))
    if any(failed.split(": ")[0].endswith(OURS.name) for failed in on.failures):
        raise typer.Exit(1)


def run(on: Stage, ready: list[System], only: list[str] | None = None) -> None:
    with_floor = not only or "floor" in only or {"concurrent", "enqueue"} & set(only)
    if with_floor:
        _guarded(on, "floor", lambda: floor.measure(on))
    for system in ready:
        for family, measure in OF_SYSTEMS.items():
            if family in system.families(on.scale.name) and (not only or family in only):
                _guarded(on, f"{family} of {system.name}", lambda measure=measure, system=system: measure(on, system))
        if system is OURS:
            for family, alone in OF_OURS.items():
                if not only or family in only:
                    _guarded(on, f"{family} of {OURS.name}", lambda alone=alone: alone(on))
    if with_floor and on.scale.name != "tiny":
        _guarded(on, "floor", lambda: floor.measure(on, again=True))
    floor.keep_the_best(on)
    relate(on)


def relate(on: Stage) -> None:
    """Ratios that only the end of the run can tell: to the best floor, and to the peers."""
    best = floor.best_rate(on)
    rates = {(figure.family, figure.cell, figure.system): figure.value for figure in on.figures}
    for figure in on.figures:
        if best and figure.family == "concurrent":
            figure.ratios[concurrent.BEST] = concurrent.ROWS * figure.value / best
        if best and figure.family == "enqueue":
            figure.ratios["best INSERT rate"] = figure.value / best
        if figure.system != OURS.name:
            continue
        for peer in AGAINST.get(figure.family, ()):
            other = rates.get((figure.family, figure.cell, peer))
            if other is None and figure.family == "enqueue":
                # It has no bulk: the best it can do is one at a time.
                other = rates.get((figure.family, enqueue.ONE, peer))
            if other is None and figure.family == "drain" and _is_drained(figure):
                other = _drained_by(peer, figure.cell, rates)
            if other:
                figure.ratios[peer] = figure.value / other
                if goal := wanted_of(figure, peer):
                    figure.goals[peer] = goal


def _is_drained(figure: Figure) -> bool:
    return figure.cell in ("1-step workflow, 2 executors", "1-step workflow, async, 2 executors", NO_OPS)


def _drained_by(peer: str, cell: str, rates: dict[tuple[str, str, str], float]) -> float | None:
    """What a peer drains that has no cell of that name: it has no steps, or its jobs are coroutines only."""
    plain = cell.replace(", async", "")
    if plain != cell and (peer not in COROUTINES or (cell == NO_OPS and peer in WITH_STEPS)):
        return None
    names = (plain, plain.replace("1-step workflow", "no-op job"))
    return next((rates["drain", each, peer] for each in names if ("drain", each, peer) in rates), None)


def wanted_of(figure: Figure, peer: str) -> str:
    if figure.family == "drain" and _is_drained(figure):
        if peer in COROUTINES and "async" not in figure.cell:
            return ""  # like with like: coroutines against coroutines
        if figure.cell == NO_OPS or peer.startswith("pgqueuer"):
            # It has no steps: the rest of a workflow is all that can be compared.
            return "aim 1" if figure.cell == NO_OPS and peer.startswith("pgqueuer") else ""
        return "" if peer in ("SKIP LOCKED", "dbos 2.31.1") else "must 10"
    if figure.family == "concurrent" and figure.cell.endswith("1 executor"):
        return "must 25, aim 50" if "async" in figure.cell else "must 15, aim 25"
    return ""


def finish(on: Stage, scale: Scale, ready: list[System], *, keep: bool) -> None:
    durable = {system.name: system.durable for system in ready}
    setups = {system.name: system.setup for system in ready}
    table = markdown(on.about, on.figures, durable, setups)
    print(table)
    for cell, why in on.failures.items():
        print(f"NOT MEASURED: {cell}: {why}")
    result = {
        **on.about, "durable": durable, "setups": setups, "failures": on.failures,
        "figures": [figure.as_dict() for figure in on.figures],
    }  # fmt: skip
    for line in committed.drops(scale.name, result):
        print(f"DROP: {line}")
    if keep:
        print(report.write(f"compare-{scale.name}", result))
        (report.RESULTS / f"compare-{scale.name}.md").write_text(table)
        if f"compare-{scale.name}" == readme.RESULT:
            readme.write(readme.committed())
            print(readme.README)
        if path := plots.draw(f"compare-{scale.name}", on.figures, on.about):
            print(path)


def _prepare(wanted: list[System]) -> tuple[list[System], dict[str, str]]:
    ready, missing = [], {}
    for system in wanted:
        try:
            environments.interpreter(system)
            ready.append(system)
        except (OSError, subprocess.CalledProcessError) as error:
            missing[system.name] = f"could not be installed: {error}"
    return ready, missing


def _guarded(on: Stage, what: str, measure: Callable[[], None]) -> None:
    """A peer that fails takes no other figure with it; that it failed is said."""
    began = time.monotonic()
    try:
        measure()
    except Exception as error:
        on.failures[what] = ": ".join(str(error).splitlines()[:2]) or type(error).__name__
        print(f"bench: {what} FAILED: {on.failures[what]}", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    spent = on.about.setdefault("seconds", {})
    spent[what] = round(spent.get(what, 0.0) + seconds, 1)
    print(f"bench: {what}: {seconds:.1f} s", file=sys.stderr, flush=True)
