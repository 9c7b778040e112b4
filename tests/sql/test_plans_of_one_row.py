"""What writes one row pins nothing itself: under the settings of the engine's connections its plans, too, are right for
ever, also those that a session made on empty tables.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plugins.executors import Connection, Executor, rows_read, value
from plugins.queueing import enqueue, put_queue
from pyengine.db.function import settings_text

BACKLOG = 20_000
TABLES = ("workflows", "in_flight", "outcomes", "checkpoints", "step_attempts", "executors")

ACTS: dict[str, Callable[[Executor, str], object]] = {
    "start": lambda executor, name: executor.start(name),
    "start again": lambda executor, name: executor.start("w7"),
    "enqueue": lambda executor, name: enqueue(executor.connection, name, queue="q"),
    "enqueue again": lambda executor, name: enqueue(executor.connection, "w7", queue="q", deduplication_id="mine"),
    "checkpoint": lambda executor, name: executor.checkpoint("w7", 5, 1),
    "checkpoint again": lambda executor, name: executor.checkpoint("w7", 5, 9),
    "fenced": lambda executor, name: executor.checkpoint("w7", 6, 1),
    "sleep": lambda executor, name: executor.sleep("w7", 5, 2, seconds=1),
    "attempt": lambda executor, name: executor.attempt("w7", 5, 3, 1),
    "finish": lambda executor, name: executor.finish("w7", 5),
    "finish again": lambda executor, name: executor.finish("done7", 5),
}


@pytest.fixture
def warmed(executor: Executor) -> Executor:
    """It has done everything twice when all tables were empty; statistics stay as they were then."""
    connection = executor.connection
    connection.execute(f"select {settings_text(is_local=False)}".encode())
    connection.execute("set plan_cache_mode = force_generic_plan")
    for table in TABLES:
        connection.execute(f"alter table pyengine.{table} set (autovacuum_enabled = off)".encode())
    put_queue(connection, "q")
    for round_ in range(2):
        executor.start("w7", 5)
        for name, act in ACTS.items():
            act(executor, f"warm {name} {round_}")
        value(connection, "delete_workflow", workflow_id="w7")
    return executor


def fill(connection: Connection, executor: Executor) -> None:
    for statement in (
        "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
        " select 'w' || n, 'flow', 'app', n, pyengine._now()"
        " from generate_series(1, %(n)s) as n on conflict do nothing",
        "insert into pyengine.in_flight (workflow_id, status, application, app_version, executor_id, fence)"
        " select 'w' || n, 'PENDING', 'app', 'v1', %(me)s, 5"
        " from generate_series(1, %(n)s) as n on conflict do nothing",
        "insert into pyengine.outcomes (workflow_id, status, completed_at, priority, attempts, crashes)"
        " select 'done' || n, 'SUCCESS', pyengine._now(), 0, 1, 0 from generate_series(1, %(n)s) as n",
        "insert into pyengine.checkpoints (workflow_id, step_id, name, started_at, completed_at)"
        " select 'w' || n, 9, 's', pyengine._now(), pyengine._now() from generate_series(1, %(n)s) as n",
        "insert into pyengine.step_attempts (workflow_id, step_id, attempt, failed_at)"
        " select 'w' || n, 9, 1, pyengine._now() from generate_series(1, %(n)s) as n",
    ):
        connection.execute(statement.encode(), {"n": BACKLOG, "me": executor.id})


@pytest.mark.parametrize("act", ACTS)
def test_a_plan_made_on_empty_tables_stays_right(
    warmed: Executor, session_factory: Callable[..., Connection], act: str
) -> None:
    fill(session_factory(), warmed)
    warmed.connection.autocommit = False

    before = rows_read(warmed.connection)  # of transactions whose counts were not sent off yet
    ACTS[act](warmed, "new")

    after = rows_read(warmed.connection)
    assert {table: count for table, count in after.items() if count - before[table] > 5} == {}
