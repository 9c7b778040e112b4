"""What one queued job costs from its enqueueing to its end: WAL, processor time of the clients and of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bench.cells.drain import drain
from bench.figures import Figure
from bench.stage import Stage
from bench.systems import OURS, System

FAMILY = "cost"


def measure(stage: Stage, system: System) -> None:
    count = max(20, int(system.rate * stage.scale.seconds))
    steps = 1 if system.has_steps else 0
    with _no_page_images(stage) as without:
        drained = drain(stage, system, count=count, steps=steps, executors=1)
    name = "1-step workflow" if steps else "no-op job"
    finished = max(1, drained.finished)
    note = "full-page images off" if without else "WITH full-page images: the server is not the suite's"
    stage.add(
        Figure(
            FAMILY, f"WAL of a queued {name}", system.name, "KB",
            (drained.ended.wal - drained.begun.wal) / finished / 1000, samples=finished, note=note,
            goals={"": "must 2.3 KB, aim 1.8 KB"} if system is OURS else {},
        ),
        Figure(FAMILY, f"client CPU of a queued {name}", system.name, "us", drained.client_cpu * 1e6 / finished,
               samples=finished, note="enqueueing and running; one executor"),
    )  # fmt: skip
    if drained.begun.cpu is not None and drained.ended.cpu is not None:
        stage.add(
            Figure(FAMILY, f"server CPU of a queued {name}", system.name, "us",
                   (drained.ended.cpu - drained.begun.cpu) * 1e6 / finished, samples=finished,
                   note="with its background processes")
        )  # fmt: skip


@contextmanager
def _no_page_images(stage: Stage) -> Iterator[bool]:
    """How many there are depends on checkpoints, not on the engine."""
    if not stage.is_own_server:
        yield False
        return
    with psycopg.connect(stage.url, autocommit=True) as connection:
        connection.execute("checkpoint")
        connection.execute("alter system set full_page_writes = off")
        connection.execute("select pg_reload_conf()")
        try:
            yield True
        finally:
            connection.execute("alter system reset full_page_writes")
            connection.execute("select pg_reload_conf()")
