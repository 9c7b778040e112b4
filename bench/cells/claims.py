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
    """In one database that is filled further from cell to cell."""
    scale, base = stage.scale, 0.0
    cells = [(backlog, 0) for backlog in scale.backlogs]
    cells.append((scale.backlogs[-1], scale.history))
    if scale.name == "tiny":
        cells = cells[-1:]
    queued = finished = 0
    with stage.database() as url:
        me = _install(url)
        for backlog, history in cells:
            began = time.monotonic()
            # What is left when the last claim is made is the backlog.
            wanted = backlog + (scale.claims + WARM) * SIZE
            with psycopg.connect(url, autocommit=True) as connection:
                _multiply(connection, finished, history, is_finished=True)
                missing = max(0, wanted - _waiting(connection))
                _multiply(connection, queued, queued + missing, is_finished=False)
                connection.execute("vacuum analyze")
            queued, finished = queued + missing, max(finished, history)
            filling = time.monotonic() - began
            took = _claims(url, me, scale.claims)
            p50 = quantile(took, 0.5)
            base = base or p50
            cell = (
                f"claim of {SIZE}, "
                + (f"backlog {backlog:,}" if backlog else "no backlog")
                + (f", {history:,} finished" if history else "")
            )
            stage.add(
                Figure(
                    FAMILY, cell, OURS.name, "ms", p50 * 1000, p50 * 1000, quantile(took, 0.99) * 1000,
                    samples=len(took), ratios={EMPTY: p50 / base} if backlog else {},
                    goals={EMPTY: "must 1.5"} if backlog else {}, note=f"filled in {filling:.0f} s",
                )
            )  # fmt: skip


def _waiting(connection: Any) -> int:
    query = "select count(*) from pyengine.in_flight where status = 'ENQUEUED' and queue = 'work'"
    (count,) = connection.execute(query).fetchone()
    return int(count)


def _claims(url: str, me: dict[str, int], count: int) -> list[float]:
    from pyengine.db import calls
    from pyengine.db.function import statement

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
        # On a queue of its own, where nobody claims it.
        ask(connection, calls.put_queue, application=APPLICATION["application"], queue="model", is_partitioned=False)
        ask(connection, calls.enqueue_workflow, **flow, start_token=2, workflow_id="queued", queue="model")
    return me


def _multiply(connection: Any, first: int, last: int, *, is_finished: bool) -> None:
    """Copies `first` + 1 to `last` of what the functions stored for one workflow; only what must differ does."""
    model = "finished" if is_finished else "queued"
    tables = ("workflows", "checkpoints", "outcomes") if is_finished else ("workflows", "in_flight")
    for table in tables:
        columns = [
            row[0]
            for row in connection.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
                " and attgenerated = '' and attidentity = ''",
                (f"pyengine.{table}",),
            )
        ]
        # Ids in the order of time, as generated ones are; what has finished is older.
        fresh = {
            "workflow_id": f"'{'00' if is_finished else '01'}' || lpad(g::text, 12, '0')",
            "seq": "nextval('pyengine.in_flight_seq')",
        }
        if not is_finished:
            fresh["queue"] = "'work'"
        if table == "workflows":
            fresh["start_token"] = "g"
        values = ", ".join(fresh.get(column, f"t.{column}") for column in columns)
        connection.execute(
            f"insert into pyengine.{table} ({', '.join(columns)}) select {values} from pyengine.{table} as t,"
            f" generate_series({first + 1}, {last}) as g where t.workflow_id = '{model}'".encode()
        )
