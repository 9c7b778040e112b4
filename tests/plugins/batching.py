"""Driving the functions for many rows as the engine does: rows of arguments, gathered into packed arrays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from plugins.executors import Connection, Executor, Row, read, token
from pyengine.db.batches import ATTEMPTS, CHECKPOINTS, ENQUEUES, FINISHES, SLEEPS, STARTS, Batch
from pyengine.db.function import Function, statement

R = TypeVar("R")

_HEADER = (
    "class_name", "config_name", "inputs", "timeout", "deadline", "max_recovery_attempts", "attributes",
    "authenticated_user", "assumed_role", "authenticated_roles", "parent_id", "parent_fence", "parent_step_id",
)  # fmt: skip
_ENQUEUE = ("partition_key", "priority", "deduplication_id", "delay", "schedule_name")
_WRITTEN = ("workflows", "in_flight", "lanes", "outcomes", "checkpoints", "step_attempts")
BATCHES: tuple[Batch[Any], ...] = (STARTS, ENQUEUES, CHECKPOINTS, SLEEPS, ATTEMPTS, FINISHES)


def start_row(executor: Executor, workflow_id: str, fence: int | None = None, **arguments: Any) -> Row:
    given: Row = {**executor.me, **dict.fromkeys(_HEADER), "fence": fence or token(), "start_token": token()}
    given |= {"workflow_id": workflow_id, "name": "flow", "application": "app", "app_version": "v1"}
    return given | arguments


def enqueue_row(executor: Executor | None, workflow_id: str, /, **arguments: Any) -> Row:
    """Of a client without an executor."""
    given: Row = {"executor_id": None, "nonce": None} if executor is None else executor.me
    given |= {**dict.fromkeys((*_HEADER, *_ENQUEUE)), "start_token": token(), "queue": "q"}
    given |= {"workflow_id": workflow_id, "name": "flow", "application": "app", "app_version": "v1"}
    return given | arguments


def checkpoint_row(executor: Executor, workflow_id: str, fence: int, step_id: int = 1, **arguments: Any) -> Row:
    given: Row = {**executor.me, "workflow_id": workflow_id, "fence": fence, "step_id": step_id, "name": "step"}
    return given | {"output": b"j1", "error": None, "child_id": None, "elapsed": timedelta(0)} | arguments


def sleep_row(executor: Executor, workflow_id: str, fence: int, step_id: int = 1, **arguments: Any) -> Row:
    given: Row = {**executor.me, "workflow_id": workflow_id, "fence": fence, "step_id": step_id, "name": "DBOS.sleep"}
    return given | {"duration": timedelta(seconds=60)} | arguments


def attempt_row(executor: Executor, workflow_id: str, fence: int, attempt: int = 1, **arguments: Any) -> Row:
    given: Row = {**executor.me, "workflow_id": workflow_id, "fence": fence, "step_id": 1, "attempt": attempt}
    return given | {"error": b"e"} | arguments


def finish_row(executor: Executor, workflow_id: str, fence: int, **arguments: Any) -> Row:
    given: Row = {**executor.me, "workflow_id": workflow_id, "fence": fence, "status": "SUCCESS"}
    return given | {"output": b"j2", "error": None} | arguments


def parent_of(parent_id: str, fence: int, step_id: int) -> Row:
    return {"parent_id": parent_id, "parent_fence": fence, "parent_step_id": step_id}


def call(connection: Connection, function: Function[R], arguments: Row) -> R:
    # Durations as the engine sends them: in seconds, not in days of a calendar.
    values = [
        f"{value // timedelta(microseconds=1)} microseconds" if isinstance(value, timedelta) else value
        for value in function.bind(dict(arguments))
    ]
    found = connection.execute(statement(function, "pyengine"), values, binary=True).fetchone()
    assert found is not None
    return function.build(found)


def one(connection: Connection, batch: Batch[R], row: Row) -> R:
    return call(connection, batch.one, row)


def many(connection: Connection, batch: Batch[Any], rows: Sequence[Row]) -> list[int]:
    """The positions left over."""
    return list(batch.left_over(call(connection, batch.many, batch.gather(rows))))


def freeze_clock(connection: Connection) -> datetime:
    """So that two ways to write a row can be compared with the instants in it."""
    (now,) = read(connection, "select pyengine._now() as now")
    connection.execute(
        "create or replace function pyengine._now() returns timestamptz language sql volatile"
        f" as $$ select timestamptz '{now['now'].isoformat()}' $$".encode()
    )
    found: datetime = now["now"]
    return found


def written(connection: Connection) -> dict[str, list[Row]]:
    """All that a batch may write, in the order of the queue where there is one."""
    tables = {}
    for table in _WRITTEN:
        order = "t.seq" if table == "in_flight" else "to_jsonb(t)"
        found = read(connection, f"select to_jsonb(t) - 'seq' as content from pyengine.{table} as t order by {order}")
        tables[table] = [each["content"] for each in found]
    return tables


def make_patient(connection: Connection) -> None:
    """Let the functions for many wait for locks as long as those for one do, so that a test can watch them wait."""
    for batch in BATCHES:
        found = connection.execute(
            "select p.oid::regprocedure::text from pg_proc as p"
            " where p.pronamespace = 'pyengine'::regnamespace and p.proname = %s",
            (batch.many.name,),
        ).fetchone()
        assert found is not None
        connection.execute(f"alter function {found[0]} set lock_timeout = '60s'".encode())


def wipe(connection: Connection, *kept: str) -> None:
    """Forget every workflow but those kept."""
    for table in _WRITTEN:
        if table == "lanes":
            connection.execute("truncate pyengine.lanes")
        else:
            connection.execute(
                f"delete from pyengine.{table} where workflow_id <> all (%s)".encode(),
                (list(kept),),
            )


__all__ = ["ATTEMPTS", "CHECKPOINTS", "ENQUEUES", "FINISHES", "SLEEPS", "STARTS", "Batch"]
