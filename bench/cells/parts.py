"""Where the time of a workflow goes: each of its calls to Postgres without the engine, alone and in a batch.

By turns with the bare INSERT of the same size. What a workflow of `sequential` takes beyond the sum is Python's.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from bench.cells import bare_engine
from bench.cells.bare_engine import APPLICATION, PAYLOAD
from bench.figures import latency
from bench.stage import Stage
from bench.systems import OURS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "programs"))
from wire import Floor, quantiles

FAMILY = "parts"
BATCH = 64
Row = dict[str, Any]


def measure(stage: Stage) -> None:
    from pyengine.db.function import settings_text

    with stage.database() as url:
        me = bare_engine.install(url)
        floor = Floor(url)
        with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
            # As the engine's connections are set: else helpers that calls share would be planned anew by turns.
            connection.execute(f"select {settings_text(is_local=False)}".encode())
            took = _take_turns(connection, me, floor, stage.scale.blocks * 4)
        floor.connection.close()
    insert = quantiles(floor.took)
    stage.add(latency(FAMILY, "INSERT (by turns)", OURS.name, insert, samples=len(floor.took)))
    for cell, times in took.items():
        found = quantiles(times)
        ratios = {"INSERT": found["p50"] / insert["p50"]}
        stage.add(latency(FAMILY, cell, OURS.name, found, ratios=ratios, samples=len(times)))


def _take_turns(connection: Any, me: Row, floor: Floor, rounds: int) -> dict[str, list[float]]:
    from pyengine.db.batches import CHECKPOINTS, ENQUEUES, FINISHES, STARTS

    took: dict[str, list[float]] = {}
    numbers = iter(range(1, 10**9))

    def rows(count: int) -> list[Row]:
        return [{**me, "workflow_id": f"w{next(numbers):09d}", "fence": secrets.randbits(62)} for _ in range(count)]

    def step(name: str, each: int, call: Callable[[], object], counts: bool) -> None:
        floor.insert()
        began = time.perf_counter()
        call()
        if counts:
            took.setdefault(name, []).append((time.perf_counter() - began) / each)

    for number in range(rounds + 2):
        for size in (1, BATCH):
            started = rows(size)
            how = "alone" if size == 1 else f"each of {BATCH} in a batch"
            flow = {**APPLICATION, "name": "flow", "inputs": PAYLOAD}
            queued = [
                {**row, **flow, "start_token": row["fence"], "queue": "work", "workflow_id": row["workflow_id"] + "q"}
                for row in started
            ]
            for row in queued:
                row.pop("fence")
            for name, batch, given in (
                ("start", STARTS, [{**row, **flow, "start_token": row["fence"]} for row in started]),
                ("checkpoint", CHECKPOINTS, [
                    {**row, "step_id": 1, "name": "step", "output": PAYLOAD, "elapsed": timedelta(0)}
                    for row in started
                ]),
                ("finish", FINISHES, [{**row, "status": "SUCCESS", "output": PAYLOAD} for row in started]),
                ("enqueue", ENQUEUES, queued),
            ):  # fmt: skip
                call = _call(connection, batch, given)
                step(f"{name}, {how}", size, call, counts=number >= 2)
    floor.took = floor.took[16:]
    return took


def _call(connection: Any, batch: Any, rows: list[Row]) -> Callable[[], object]:
    from pyengine.db.function import statement

    complete = [bare_engine.arguments(batch.one, **row) for row in rows]
    function = batch.one if len(rows) == 1 else batch.many
    # With the making of arrays: it is part of the cost.
    return lambda: connection.execute(
        statement(function, "pyengine"),
        function.bind(complete[0] if len(rows) == 1 else batch.gather(complete)),
        binary=True,
    ).fetchall()
