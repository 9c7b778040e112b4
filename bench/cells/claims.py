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
    """In one database that is filled further from cell to cell, by turns with one that holds nothing else."""
    scale = stage.scale
    cells = [(backlog, 0) for backlog in scale.backlogs if backlog]
    cells.append((scale.backlogs[-1], scale.history))
    if scale.name == "tiny":
        cells = cells[-1:]
    calm: list[float] = []
    found = []
    with stage.database() as url, stage.database() as empty_url:
        filled, empty = Filled(url), Filled(empty_url)
        for backlog, history in cells:
            began = time.monotonic()
            claimed = (scale.claims + WARM) * SIZE
            filled.fill(backlog + claimed, history)
            empty.fill(claimed, 0)
            filling = time.monotonic() - began
            took = _claims(filled, empty, scale.claims)
            calm += took[1]
            ratio = quantile(took[0], 0.5) / quantile(took[1], 0.5)
            cell = f"claim of {SIZE}, backlog {backlog:,}" + (f", {history:,} finished" if history else "")
            found.append(_figure(cell, took[0], f"by turns with that; filled in {filling:.0f} s", ratio))
    stage.add(_figure(f"claim of {SIZE}, no backlog", calm), *found)


def _figure(cell: str, took: list[float], note: str = "", ratio: float | None = None) -> Figure:
    p50, p99 = (quantile(took, share) * 1000 for share in (0.5, 0.99))
    return Figure(
        FAMILY, cell, OURS.name, "ms", p50, p50, p99, samples=len(took), note=note,
        ratios={} if ratio is None else {EMPTY: ratio}, goals={} if ratio is None else {EMPTY: "must 1.5"},
    )  # fmt: skip


class Filled:
    """A database with one executor, which has claimed some of its workflows."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.me = _install(url)
        self._queued = self._finished = 0

    def fill(self, waiting: int, finished: int) -> None:
        """Up to so many. Then all is written down, so that no claim waits for what the filling left to do."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            _multiply(connection, self._finished, finished, is_finished=True)
            missing = max(0, waiting - _waiting(connection))
            _multiply(connection, self._queued, self._queued + missing, is_finished=False)
            connection.execute("vacuum analyze")
            connection.execute("checkpoint")
        self._queued += missing
        self._finished = max(self._finished, finished)


def _waiting(connection: Any) -> int:
    query = "select count(*) from pyengine.in_flight where status = 'ENQUEUED' and queue = 'work'"
    (count,) = connection.execute(query).fetchone()
    return int(count)


def _claims(filled: Filled, empty: Filled, count: int) -> tuple[list[float], list[float]]:
    took: tuple[list[float], list[float]] = ([], [])
    with (
        psycopg.connect(filled.url, autocommit=True, prepare_threshold=0) as one,
        psycopg.connect(empty.url, autocommit=True, prepare_threshold=0) as other,
    ):
        for number in range(count + WARM):
            for connection, me, times in ((one, filled.me, took[0]), (other, empty.me, took[1])):
                seconds = _claim(connection, me)
                if number >= WARM:
                    times.append(seconds)
    return took


def _claim(connection: Any, me: dict[str, int]) -> float:
    from pyengine.db import calls
    from pyengine.db.function import statement

    bound = calls.claim_workflows.bind(
        {**me, "fence": secrets.randbits(62), "queue": "work", "limit": SIZE, "unversioned": True, "suspects": "any",
         "from_partitions": None, "from_priorities": None,
         "from_seqs": None, "from_served_at": None}
    )  # fmt: skip
    began = time.perf_counter()
    found = connection.execute(statement(calls.claim_workflows, "pyengine"), bound, binary=True).fetchall()
    took = time.perf_counter() - began
    if len(found) != SIZE:
        raise AssertionError(f"{len(found)} of {SIZE} were claimed")
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
