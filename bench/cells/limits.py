"""Queues with limits while several executors want more than they may: the rate, and that no limit was exceeded."""

from __future__ import annotations

from typing import Any

from bench.cells.drain import LONGEST, drain
from bench.figures import Figure
from bench.report import quantile
from bench.stage import Stage
from bench.systems import OURS

FAMILY = "limits"
CONCURRENCY = 16
RATE = 200
LANES = 20
LIMITS: dict[str, dict[str, Any]] = {
    "none": {},
    f"concurrency {CONCURRENCY}": {"concurrency": CONCURRENCY},
    f"worker_concurrency {CONCURRENCY}": {"worker_concurrency": CONCURRENCY},
    f"{RATE} starts a second": {"limiter": {"limit": RATE, "period": 1.0}},
    f"concurrency 2 in each of {LANES} partitions": {"concurrency": 2, "partition_queue": True},
}
# The most that ran at a time: over all, in one executor, in one partition.
PENDING = """
select coalesce(sum(n), 0)::bigint, coalesce(max(in_executor), 0)::bigint, coalesce(max(in_lane), 0)::bigint
from (
  select count(*) as n, sum(count(*)) over (partition by executor_id) as in_executor,
    sum(count(*)) over (partition by partition_key) as in_lane
  from pyengine.in_flight where status = 'PENDING' and queue = 'work' group by executor_id, partition_key
) as counted"""


def measure(stage: Stage) -> None:
    executors = 4 if stage.scale.name == "full" else min(2, max(stage.scale.executors))
    unlimited = 0.0
    names = list(LIMITS)[:2] if stage.scale.name == "tiny" else list(LIMITS)
    for name in names:
        limits = LIMITS[name]
        count = stage.scale.limited * (1 if limits else 4)  # they are gone in no time
        if "limiter" in limits:
            count -= count % RATE
        drained = drain(
            stage, OURS, count=count, steps=1, executors=executors, queues={"work": limits},
            lanes=LANES if "partition_queue" in limits else 0,
            look=lambda connection: connection.execute(PENDING).fetchone(), seconds=stage.scale.seconds * LONGEST,
        )  # fmt: skip
        unlimited = unlimited or drained.rate
        ratios = {"no limit": drained.rate / unlimited} if limits and unlimited else {}
        if "limiter" in limits:
            drained.rate = _paced(drained.looks)
            ratios = {"what the limit allows": drained.rate / RATE}
        _check(name, limits, drained.seen)
        most = max(int(row[0]) for row in drained.seen)
        stage.add(
            Figure(
                FAMILY, f"1-step workflows, {name}, {executors} executor{'s' if executors > 1 else ''}", OURS.name,
                "/s", drained.rate, quantile(drained.windows, 0.5), quantile(drained.windows, 0.01), ratios=ratios,
                samples=drained.finished, note=f"at most {most} were seen running",
            )
        )  # fmt: skip


def _paced(looks: list[tuple[float, int]]) -> float:
    """Of a staircase: what came after the first second's share, in the time from its first to the last of them."""
    begun = next(at for at, done in looks if done)
    ended, total = next(look for look in looks if look[1] == looks[-1][1])
    return (total - RATE) / (ended - begun) if ended > begun else 0.0


def _check(name: str, limits: dict[str, Any], seen: list[Any]) -> None:
    """One look sees one moment, so what it counts is exact."""
    place = 2 if "partition_queue" in limits else 0
    allowed = limits.get("concurrency")
    if "worker_concurrency" in limits:
        place, allowed = 1, limits["worker_concurrency"]
    most = max(int(row[place]) for row in seen)
    if allowed is not None and most > allowed:
        raise AssertionError(f"queue with {name}: {most} ran at a time")
