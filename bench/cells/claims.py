"""One claim of 100 workflows, warm, with and without a backlog, and with finished history around it."""

from __future__ import annotations

import secrets
import time
from typing import Any

import psycopg

from bench.cells import bare_engine
from bench.cells.bare_engine import APPLICATION, PAYLOAD, ask
from bench.figures import Figure
from bench.report import quantile
from bench.stage import Stage
from bench.systems import OURS

FAMILY = "claims"
SIZE = 100
WARM = 3
EMPTY = "an empty database"


def measure(stage: Stage) -> None:
    base = 0.0
    cells = [(backlog, 0) for backlog in stage.scale.backlogs]
    cells.append((stage.scale.backlogs[-1], stage.scale.history))
    if stage.scale.name == "tiny":
        cells = cells[-1:]
    for backlog, history in cells:
        took = _claims(stage, backlog, history)
        p50 = quantile(took, 0.5)
        base = base or p50
        cell = (
            f"claim of {SIZE}, "
            + (f"backlog {backlog:,}" if backlog else "no backlog")
            + (f", {history:,} finished" if history else "")
        )
        stage.add(
            Figure(
                FAMILY, cell, OURS.name, "ms", p50 * 1000, p50 * 1000, quantile(took, 0.99) * 1000, samples=len(took),
                ratios={EMPTY: p50 / base} if backlog else {}, goals={EMPTY: "must 1.5"} if backlog else {},
            )
        )  # fmt: skip


def _claims(stage: Stage, backlog: int, history: int) -> list[float]:
    from pyengine.db import calls
    from pyengine.db.function import statement

    count = stage.scale.claims
    with stage.database() as url:
        me = _install(url)
        with psycopg.connect(url, autocommit=True) as connection:
            _multiply(connection, history, finished=True)
            _multiply(connection, max(backlog, (count + WARM + 1) * SIZE), finished=False)
            connection.execute("vacuum analyze")
        took = []
        with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
            for number in range(count + WARM):
                bound = calls.claim_workflows.bind(
                    {**me, "fence": secrets.randbits(62), "queue": "work", "limit": SIZE, "unversioned": True,
                     "suspects": "any"}
                )  # fmt: skip
                began = time.perf_counter()
                found = connection.execute(statement(calls.claim_workflows, "pyengine"), bound, binary=True).fetchall()
                took_now = time.perf_counter() - began
                if len(found) != SIZE:
                    raise AssertionError(f"{len(found)} of {SIZE} were claimed")
                if number >= WARM:
                    took.append(took_now)
    return took


def _install(url: str) -> dict[str, int]:
    """With one workflow of each kind to make copies of."""
    from pyengine.db import calls

    me = bare_engine.install(url)
    flow = {**APPLICATION, "name": "flow", "inputs": PAYLOAD}
    mine = {**me, "workflow_id": "finished", "fence": secrets.randbits(62)}
    with psycopg.connect(url, autocommit=True) as connection:
        ask(connection, calls.start_workflow, **mine, **flow, start_token=1)
        ask(connection, calls.record_checkpoint, **mine, step_id=1, name="step", output=PAYLOAD)
        ask(connection, calls.finish_workflow, **mine, status="SUCCESS", output=PAYLOAD)
        ask(connection, calls.enqueue_workflow, **flow, start_token=2, workflow_id="queued", queue="work")
    return me


def _multiply(connection: Any, count: int, *, finished: bool) -> None:
    """So many copies of what the functions stored for one workflow; only what must differ does."""
    model = "finished" if finished else "queued"
    tables = ("workflows", "checkpoints", "outcomes") if finished else ("workflows", "in_flight")
    for table in tables:
        columns = [
            row[0]
            for row in connection.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
                " and attgenerated = '' and attidentity = ''",
                (f"pyengine.{table}",),
            )
        ]
        # Ids in the order of time, as generated ones are.
        fresh = {"workflow_id": "'0' || lpad(g::text, 12, '0')", "seq": "nextval('pyengine.in_flight_seq')"}
        if finished:
            fresh["workflow_id"] = "'00' || lpad(g::text, 12, '0')"
        if table == "workflows":
            fresh["start_token"] = "g"
        values = ", ".join(fresh.get(column, f"t.{column}") for column in columns)
        connection.execute(
            f"insert into pyengine.{table} ({', '.join(columns)}) select {values} from pyengine.{table} as t,"
            f" generate_series(1, {count}) as g where t.workflow_id = '{model}'".encode()
        )
