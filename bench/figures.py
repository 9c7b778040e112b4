"""One measured figure, and how figures become a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Figure:
    family: str
    cell: str
    system: str
    unit: str  # "ms": less is better; "/s", "rows/s": more is better; "KB", "us": less
    value: float  # of a latency its p50
    p50: float | None = None
    p99: float | None = None
    ratios: dict[str, float] = field(default_factory=dict)  # to what: how many times
    # What is wanted of a ratio, by its name; under "" what is wanted of the figure itself.
    goals: dict[str, str] = field(default_factory=dict)
    note: str = ""
    samples: int = 0
    spread_unit: str = ""  # of p50 and p99, where it is another one

    @property
    def key(self) -> str:
        return f"{self.family} / {self.cell} / {self.system}"

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")

    def spread(self, value: float | None) -> str:
        return "" if value is None else f"{number(value)} {self.spread_unit or self.unit}"

    def line(self) -> str:
        ratios = ", ".join(f"{value:.2f} x {name}" for name, value in self.ratios.items())
        spread = "" if self.p99 is None else f" (p50 {self.spread(self.p50)}, p99 {self.spread(self.p99)})"
        return f"{self.key}: {number(self.value)} {self.unit}{spread} {ratios}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def latency(family: str, cell: str, system: str, seconds: dict[str, float], **more: Any) -> Figure:
    """From quantiles in seconds."""
    p50, p99 = seconds["p50"] * 1000, seconds["p99"] * 1000
    return Figure(family, cell, system, "ms", p50, p50, p99, **more)


def number(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def headline(figures: Iterable[Figure]) -> list[tuple[str, str, str, str]]:
    """Cell, reached, against what, wanted: of each figure of ours of which something is wanted."""
    lines = []
    for figure in figures:
        for to, goal in figure.goals.items():
            cell = f"{figure.family}: {figure.cell}"
            if not to:
                spread = "" if figure.p99 is None else f", p99 {figure.spread(figure.p99)}"
                lines.append((cell, f"{number(figure.value)} {figure.unit}{spread}", "", goal))
            elif to in figure.ratios:
                lines.append((cell, f"{number(figure.ratios[to])} x", to, goal))
    return lines


def markdown(about: dict[str, Any], figures: Sequence[Figure], durable: dict[str, str], setups: dict[str, str]) -> str:
    machine, server = about["machine"], about["server"]
    settings = ", ".join(f"{name} {value}" for name, value in server.items() if name not in ("postgres", "origin"))
    lines = [
        f"# Figures of a {about['scale']} run",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, load at start "
        f"{machine.get('load_at_start')}. Postgres {server['postgres']} ({server['origin']}): {settings}.",
    ]
    if about.get("caveat"):
        lines += ["", about["caveat"]]
    lines += [
        "",
        "## What is wanted, and what is reached",
        "",
        "| cell | reached | against | wanted |",
        "|---|---:|---|---|",
    ]
    lines += [f"| {cell} | {reached} | {to} | {goal} |" for cell, reached, to, goal in headline(figures)]
    lines += ["", "## All figures", ""]
    for family in dict.fromkeys(figure.family for figure in figures):
        lines += [f"### {family}", "", "| cell | system | figure | p50 | p99 | ratios | note |"]
        lines.append("|---|---|---:|---:|---:|---|---|")
        for figure in figures:
            if figure.family == family:
                ratios = ", ".join(f"{number(value)} x {name}" for name, value in figure.ratios.items())
                lines.append(
                    f"| {figure.cell} | {figure.system} | {number(figure.value)} {figure.unit} "
                    f"| {figure.spread(figure.p50)} | {figure.spread(figure.p99)} | {ratios} | {figure.note} |"
                )
        lines.append("")
    lines += ["## What is durable, and how each was set up", "", "| system | committed | set-up |", "|---|---|---|"]
    lines += [f"| {name} | {said} | {setups[name]} |" for name, said in durable.items()]
    return "\n".join(lines) + "\n"
