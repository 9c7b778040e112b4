"""The figures as pictures. Needs the extra `bench` (matplotlib); without it there is no picture, and that is said."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.figures import Figure, number

OURS, OTHERS = "#1f6f8b", "#b8b8b8"


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        print("bench: no plot without matplotlib: install the extra `bench`", file=sys.stderr)
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(name: str, figures: Sequence[Figure], about: dict[str, Any]) -> Path | None:
    """The headline figures, a panel for each family."""
    pyplot = _pyplot()
    panels = [
        ("1-step workflows a second, one executor", _pick(figures, "concurrent", "1 executor")),
        ("drained a second, 2 executors", _pick(figures, "drain", "2 executors")),
        ("enqueued a second, from one process", _pick(figures, "enqueue", "")),
        ("sequential, times a bare INSERT", _ratios(figures)),
    ]
    panels = [(title, bars) for title, bars in panels if bars]
    if not panels or pyplot is None:
        return None
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(9, sum(0.8 + 0.28 * len(bars) for _, bars in panels)), squeeze=False,
        gridspec_kw={"height_ratios": [1.5 + len(bars) for _, bars in panels]},
    )  # fmt: skip
    for axis, (title, bars) in zip(axes[:, 0], panels, strict=True):
        bars = sorted(bars, key=lambda bar: bar[1])
        axis.barh(
            [label for label, _, _ in bars], [value for _, value, _ in bars],
            color=[OURS if own else OTHERS for _, _, own in bars],
        )  # fmt: skip
        for place, (_, value, _) in enumerate(bars):
            axis.text(value, place, f" {number(value)}", va="center", fontsize=8)
        axis.set_title(title, fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
        axis.margins(x=0.12)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return _save(pyplot, figure, name, about)


# Over the time of a soak: what is drawn together, on which scale.
OVER_TIME = {
    "enqueue to start, ms": ("start_p50_ms", "start_p99_ms"),
    "enqueue to result, ms": ("result_p50_ms", "result_p99_ms"),
    "MB": ("table_mb", "index_mb", "executor_mb"),
    "rows": ("dead_rows", "kept"),
    "in flight": ("in_flight",),
}


def draw_soak(result: dict[str, Any], name: str = "soak") -> Path | None:
    """Everything that must not drift, over time."""
    pyplot = _pyplot()
    samples = result["samples"]
    if pyplot is None or not samples:
        return None
    figure, axes = pyplot.subplots(len(OVER_TIME), 1, figsize=(9, 9), sharex=True)
    for axis, (title, names) in zip(axes, OVER_TIME.items(), strict=True):
        if held := result["load"].get("held"):
            axis.axvspan(*held, color="0.93", label="somebody holds a snapshot")
        for each in names:
            axis.plot(
                [sample["at"] for sample in samples], [sample[each] for sample in samples], label=each, linewidth=1
            )
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=7, loc="upper right")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlabel("seconds", fontsize=8)
    load = result["load"]
    caveat = f"{load['rate']:,.0f} 1-step workflows/s, finished ones kept for {load['keep_for']:g} s."
    return _save(pyplot, figure, name, {**result, "caveat": f"{caveat} {result.get('caveat', '')}"})


def _save(pyplot: Any, figure: Any, name: str, about: dict[str, Any]) -> Path:
    machine, server = about["machine"], about["server"]
    said = (
        f"{machine['cpu']}, {machine['cores']} cores, Postgres {server['postgres']}, fsync {server['fsync']}, "
        f"load at start {machine.get('load_at_start')}. {about.get('caveat', '')}"
    )
    figure.text(0.01, 0.003, textwrap.fill(said, 170), fontsize=6)
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    path = report.RESULTS / f"{name}.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def _pick(figures: Sequence[Figure], family: str, ending: str) -> list[tuple[str, float, bool]]:
    found = [each for each in figures if each.family == family and each.cell.endswith(ending)]
    return [
        (f"{each.system}: {each.cell.removesuffix(', ' + ending)}", each.value, each.system == "pyengine")
        for each in found
    ]


def _ratios(figures: Sequence[Figure]) -> list[tuple[str, float, bool]]:
    return [
        (f"{each.system}: {each.cell}", each.ratios["INSERT"], each.system == "pyengine")
        for each in figures
        if each.family == "sequential" and "INSERT" in each.ratios
    ]
