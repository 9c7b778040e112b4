"""An hour of steady load at half of what the executors can do, with retention: nothing may drift.

Latency, sizes, memory and dead rows are sampled all along; in the end the first quarter is compared with the last one.
Or somebody holds a snapshot in the middle: what was before is compared with its last quarter, and with what follows.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from bench import plots, report
from bench.cells import drain
from bench.drift import Sample, verdict, verdict_of_hold
from bench.program import Program, ProgramFailed
from bench.snapshot import Snapshot
from bench.stage import QUICK, Stage, stage
from bench.systems import OURS

EXECUTORS = 2
PROBE_SECONDS = 0.2  # between two workflows whose latency is taken
SETTLE_SECONDS = 10.0
TABLES = ("workflows", "in_flight", "checkpoints", "outcomes")
QUEUES: dict[str, dict[str, Any]] = {"work": {}, "load": {}}
SIZES = """
select coalesce(sum(pg_table_size(c.oid)), 0)::bigint, coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint,
  coalesce(sum(s.n_dead_tup), 0)::bigint
from pg_class as c join pg_stat_user_tables as s on s.relid = c.oid
where c.relnamespace = 'pyengine'::regnamespace and c.relname = any (%s)"""
COUNTS = """
select (select count(*) from pyengine.in_flight), (select count(*) from pyengine.workflows),
  (select coalesce(sum(n_tup_ins), 0)::bigint from pg_stat_user_tables where schemaname = 'pyengine'
    and relname = 'outcomes')"""


class Probe:
    """Hears the latencies that a client tells, and hands them out window by window."""

    def __init__(self, client: Program) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._heard: list[dict[str, float]] = []
        self.failure: ProgramFailed | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while "ended" not in (said := self._client.wait()):
                with self._lock:
                    self._heard.append(said)
        except ProgramFailed as error:
            self.failure = error

    def take(self) -> list[dict[str, float]]:
        with self._lock:
            heard, self._heard = self._heard, []
        return heard

    def end(self) -> None:
        self._client.tell_to_end()
        self._thread.join()


@dataclass(frozen=True)
class Load:
    seconds: float
    every: float
    keep_for: float
    rate: float
    naptime: float = 60.0  # of autovacuum
    hold: float = 0.0  # so many seconds, in the middle, somebody holds a snapshot

    @property
    def held(self) -> tuple[float, float] | None:
        """From when to when."""
        if not self.hold:
            return None
        # Dead rows go up and down with each vacuum: what was before is that of some.
        begin = max(self.warm + 3 * self.naptime, (self.seconds - self.hold) / 2)
        return begin, begin + self.hold

    @property
    def warm(self) -> float:
        """Until then sizes grow: nothing is old enough to be removed, and pages of an index are used again only by the
        second vacuum after they were emptied.
        """
        return SETTLE_SECONDS + 2 * self.keep_for + 3 * self.naptime


def measure(on: Stage, load: Load) -> list[Sample]:
    settings = {"retention_days": load.keep_for / 86400}
    samples: list[Sample] = []
    with on.database(OURS) as url, ExitStack() as stack:

        def program(command: str, word: str, **options: Any) -> Program:
            made = stack.enter_context(Program(OURS, command, url, queues=QUEUES, settings=settings, **options))
            made.wait("ready")
            made.go()
            if word:
                made.wait(word)
            return made

        workers = [program("work", "launched") for _ in range(EXECUTORS)]
        presser = program("press", "pressing", queue="load", rate=load.rate, callers=OURS.callers)
        snapshot = stack.enter_context(Snapshot(url))
        probe = Probe(program("watch", "", pause=min(PROBE_SECONDS, load.every / 5)))
        with psycopg.connect(url, autocommit=True) as connection:
            begin, wal = time.monotonic(), on.usage().wal
            while (at := len(samples) * load.every) < load.seconds:
                snapshot.hold(load.held is not None and load.held[0] <= at < load.held[1])
                time.sleep(max(0.0, begin + at + load.every - time.monotonic()))
                if probe.failure is not None:
                    raise probe.failure
                at = time.monotonic() - begin
                # Nothing came back in the whole of it: that long at least.
                heard = probe.take() or [{"start": load.every, "result": load.every}]
                samples.append(_sample(connection, at, heard, workers, on.usage().wal - wal))
                _tell(samples[-1])
        probe.end()
        # Less than was wanted: the load was more than the machine has.
        on.about["reached"] = round(presser.end()["rate"], 1)
    return samples


def _sample(connection: Any, at: float, heard: list[dict[str, float]], workers: list[Program], wal: int) -> Sample:
    def of(name: str, share: float) -> float:
        return round(report.quantile([each[name] for each in heard], share) * 1000, 3)

    tables, indexes, dead = connection.execute(SIZES, (list(TABLES),)).fetchone()
    in_flight, kept, finished = connection.execute(COUNTS).fetchone()
    return Sample(
        round(at, 1), of("start", 0.5), of("start", 0.99), of("result", 0.5), of("result", 0.99), len(heard),
        round(tables / 2**20, 2), round(indexes / 2**20, 2), dead, in_flight, kept, finished,
        round(max(_resident(worker.pid) for worker in workers) / 2**20, 2), round(wal / 2**20, 1),
    )  # fmt: skip


def _resident(pid: int) -> int:
    """Bytes, or 0 where nothing tells."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def _tell(sample: Sample) -> None:
    print(
        f"{sample.at:7.0f} s  start p50 {sample.start_p50_ms:6.1f} ms, p99 {sample.start_p99_ms:7.1f} ms  "
        f"tables {sample.table_mb:7.1f} MB, indexes {sample.index_mb:7.1f} MB, dead {sample.dead_rows:7,d}  "
        f"kept {sample.kept:8,d}, in flight {sample.in_flight:5,d}  executor {sample.executor_mb:6.1f} MB",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def soak(
    seconds: Annotated[float, typer.Option(help="How long the load lasts.")] = 3600.0,
    every: Annotated[float, typer.Option(help="Seconds between two samples.")] = 10.0,
    keep_for: Annotated[float, typer.Option(help="Retention in seconds. 0: a tenth of the time, at most 120.")] = 0.0,
    rate: Annotated[float, typer.Option(help="1-step workflows a second. 0: half of what the executors drain.")] = 0.0,
    hold: Annotated[float, typer.Option(help="Seconds in the middle for which somebody holds a snapshot.")] = 0.0,
    keep: Annotated[bool, typer.Option(help="Write bench/results/.")] = True,
) -> None:
    """Steady load for an hour: no drift in latency, bloat, memory. Exit 1 if there is one."""
    name = "soak-snapshot" if hold else "soak"
    keep_for = keep_for or min(120.0, seconds / 10)
    with stage(QUICK) as on:
        load = Load(seconds, every, keep_for, rate or capacity(on) / 2, _vacuum_in_time(on, seconds), hold)
        if load.held is not None and load.held[1] + load.keep_for > seconds:
            raise typer.BadParameter(f"{seconds:g} s are too short: the snapshot goes at {load.held[1]:g} s")
        print(
            f"soak: {load.rate:,.0f} 1-step workflows/s for {seconds:g} s, kept for {keep_for:g} s, "
            f"autovacuum every {load.naptime:g} s",
            file=sys.stderr,
        )
        samples = measure(on, load)
    found = verdict(samples, load.warm) if load.held is None else verdict_of_hold(samples, load.warm, load.held)
    result = {
        **on.about, "load": {**asdict(load), "held": load.held}, "executors": EXECUTORS,
        "verdict": [{**asdict(drift), "is_too_much": drift.is_too_much} for drift in found],
        "samples": [asdict(sample) for sample in samples],
    }  # fmt: skip
    for drift in found:
        said = "DRIFT" if drift.is_too_much else "ok"
        print(f"{drift.figure:<21} {drift.first:12.2f} -> {drift.last:12.2f}  (at most {drift.allowed:12.2f})  {said}")
    if keep:
        print(report.write(name, result))
        if path := plots.draw_soak(result, name):
            print(path)
    if not found:
        print("soak: too short for a verdict", file=sys.stderr)
    if any(drift.is_too_much for drift in found):
        raise typer.Exit(1)


def _vacuum_in_time(on: Stage, seconds: float) -> float:
    """Autovacuum comes every minute. A run of minutes must see it come as often as an hour does."""
    with psycopg.connect(on.url, autocommit=True) as connection:
        if on.is_own_server and seconds < 1800:
            wanted = max(1, round(seconds / 30))
            connection.execute(f"alter system set autovacuum_naptime = '{wanted}s'".encode())
            connection.execute("select pg_reload_conf()")
            return float(wanted)
        row = connection.execute(
            "select extract(epoch from current_setting('autovacuum_naptime')::interval)"
        ).fetchone()
        assert row is not None
        return float(row[0])


def capacity(on: Stage) -> float:
    """What so many executors drain a second."""
    count = int(OURS.rate * 1.5 * on.scale.seconds)
    return drain.drain(on, OURS, count=count, steps=1, executors=EXECUTORS).rate
