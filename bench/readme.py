"""The table of README.md, from the committed result of a quick run: ratios, and what each peer makes durable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import report
from bench.figures import number
from bench.systems import EVERYBODY, OURS

README = Path(__file__).resolve().parents[1] / "README.md"
RESULT = "compare-quick"
BEGIN, END = "<!-- figures: written by python -m bench readme -->", "<!-- end of figures -->"
WITH_STEPS = {system.name for system in EVERYBODY if system.has_steps}
# Against a peer: what stands in the column, and the cell of ours that is compared.
COLUMNS = {
    "queue drained, async": ("drain", "{work}, async, 2 executors"),
    "queue drained, threads": ("drain", "{work}, 2 executors"),
    "called, async": ("concurrent", "1-step workflows, async, 1 executor"),
    "called, threads": ("concurrent", "1-step workflows, threads, 1 executor"),
    "enqueued one by one": ("enqueue", "one at a time, many callers"),
    "enqueued in bulk": ("enqueue", "in bulk"),
}
# Against the floor: what is said, the cell, and the name of its ratio.
INSERT, BEST = "INSERT", "best INSERT rate, in durable rows"
FLOOR = (
    ("one step after another: time of one, against a bare `INSERT` and its commit", "sequential", "one step", INSERT),
    ("one workflow of one step after another: time of one, against that", "sequential", "1-step workflow", INSERT),
    ("many at a time, async: durable rows a second, against the best `pgbench` gets from one-row `INSERT`s",
     "concurrent", "1-step workflows, async, 1 executor", BEST),
    ("many at a time, in threads: durable rows a second, against that",
     "concurrent", "1-step workflows, threads, 1 executor", BEST),
)  # fmt: skip


def render(result: dict[str, Any]) -> str:
    machine, server = result["machine"], result["server"]
    ours = {(figure["family"], figure["cell"]): figure for figure in result["figures"] if figure["system"] == OURS.name}
    ratios = {key: figure["ratios"] for key, figure in ours.items()}
    peers = [name for name in result["durable"] if name != OURS.name and any(name in each for each in ratios.values())]
    lines = [
        "How many times as much this engine does a second. Drained by two executors are workflows with one step or, "
        "against a peer that has no steps, workflows and jobs that do nothing; a peer that is measured in one way "
        "only, async or in threads, stands against both. Where it has no call for many, bulk is one by one:",
        "",
        f"| against | {' | '.join(COLUMNS)} | what that one commits |",
        f"|---|{'---:|' * len(COLUMNS)}---|",
    ]
    for peer in peers:
        work = "1-step workflow" if peer in WITH_STEPS else "no-op job"
        shown = [
            _times(ratios.get((family, cell.format(work=work)), {}).get(peer)) for family, cell in COLUMNS.values()
        ]
        lines.append(f"| {peer} | {' | '.join(shown)} | {result['durable'][peer]} |")
    lines += ["", f"This engine commits: {result['durable'][OURS.name]}.", ""]
    lines += ["| against what Postgres itself can do, in the same run | |", "|---|---:|"]
    lines += [
        f"| {what} | {_times(ratios[family, cell][to])} |"
        for what, family, cell, to in FLOOR
        if to in ratios.get((family, cell), {})
    ]
    if idle := ours.get(("latency", "enqueue to start, idle")):
        lines.append(
            "| from an enqueue to the start in another process, idle "
            f"| {idle['p50']:.1f} ms, p99 {idle['p99']:.1f} ms |"
        )
    lines += [
        "",
        f"Measured on {result['at'][:10]} in one run on one machine: {machine['cores']} cores ({machine['cpu']}) for "
        f"everything, Postgres {server['postgres'].split()[0]} included, fsync {server['fsync']}. "
        + (f"{result['caveat']} " if result.get("caveat") else "")
        + "[All figures](bench/results/compare-quick.md), [as a picture](bench/results/compare-quick.png), "
        "[what they mean](docs/explanation/performance.md); `make bench` measures yours.",
    ]
    return "\n".join(lines)


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{number(ratio)} x"


def part(text: str) -> str:
    """What stands between the marks."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def committed() -> dict[str, Any]:
    return dict(json.loads((report.RESULTS / f"{RESULT}.json").read_text()))


def write(result: dict[str, Any]) -> None:
    text = README.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{README} has no place for figures: {BEGIN} and {END}")
    README.write_text(f"{before}{BEGIN}\n{render(result)}\n{END}{after}")


def readme() -> None:
    """Write the figures of the last quick run into README.md."""
    write(committed())
    print(README)
