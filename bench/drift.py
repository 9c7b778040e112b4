"""What a steady load must not do to an engine: figures that drift while nothing changes, or get out of hand while
somebody holds a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    at: float  # seconds since the load began
    start_p50_ms: float
    start_p99_ms: float
    result_p50_ms: float
    result_p99_ms: float
    probes: int
    table_mb: float
    index_mb: float
    dead_rows: int
    in_flight: int
    kept: int  # workflows, finished ones included
    finished: int  # ever
    executor_mb: float  # resident, of the largest
    wal_mb: float  # since the load began


@dataclass(frozen=True)
class Bound:
    """What may have become of a figure: so many times as much, and so much besides, for what is small."""

    times: float
    besides: float


# Generous: they tell a leak or a backlog, not a busy neighbour.
BOUNDS = {
    "start_p50_ms": Bound(1.5, 5.0),
    "start_p99_ms": Bound(2.0, 25.0),
    "result_p50_ms": Bound(1.5, 10.0),
    "result_p99_ms": Bound(2.0, 50.0),
    "table_mb": Bound(1.3, 16.0),
    "index_mb": Bound(1.3, 16.0),
    "dead_rows": Bound(2.0, 20_000),
    "in_flight": Bound(2.0, 500),
    "kept": Bound(1.3, 2_000),
    "executor_mb": Bound(1.2, 10.0),
}
# While a snapshot is held nothing can be removed, so sizes grow. What is asked for: the load is still kept up with,
# nobody waits for long, and no executor grows with it.
BOUNDS_HELD = {
    "start_p50_ms": Bound(2.0, 10.0),
    "start_p99_ms": Bound(2.0, 500.0),
    "result_p50_ms": Bound(2.0, 20.0),
    "result_p99_ms": Bound(2.0, 500.0),
    "in_flight": Bound(2.0, 1000),
    "executor_mb": Bound(1.2, 10.0),
}
# And then it is as if nothing had been; but files stay as long as they have become, to be filled again.
BOUNDS_AFTER = {figure: bound for figure, bound in BOUNDS.items() if figure not in ("table_mb", "index_mb")}


@dataclass(frozen=True)
class Drift:
    figure: str
    first: float
    last: float
    allowed: float

    @property
    def is_too_much(self) -> bool:
        return self.last > self.allowed


def verdict(samples: Sequence[Sample], warm: float) -> list[Drift]:
    """The medians of the first and of the last quarter of what was sampled once retention had begun to remove."""
    steady = [sample for sample in samples if sample.at >= warm]
    if len(steady) < 2:
        return []
    return _compare("", BOUNDS, steady[: max(1, len(steady) // 4)], _last_quarter(steady))


def verdict_of_hold(samples: Sequence[Sample], warm: float, held: tuple[float, float]) -> list[Drift]:
    """Of what was sampled before a snapshot was held, the last quarter while it was, and the last one after that."""
    begin, end = held
    before = [sample for sample in samples if warm <= sample.at <= begin]
    during = [sample for sample in samples if begin < sample.at <= end]
    after = [sample for sample in samples if sample.at > end]
    if not before or not during or not after:
        return []
    return [
        *_compare("held: ", BOUNDS_HELD, before, _last_quarter(during)),
        *_compare("after: ", BOUNDS_AFTER, before, _last_quarter(after)),
    ]


def _last_quarter(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[-max(1, len(samples) // 4) :]


def _compare(said: str, bounds: Mapping[str, Bound], first: Sequence[Sample], last: Sequence[Sample]) -> list[Drift]:
    found = []
    for figure, bound in bounds.items():
        was, came = (median(getattr(sample, figure) for sample in some) for some in (first, last))
        found.append(Drift(said + figure, was, came, was * bound.times + bound.besides))
    return found
