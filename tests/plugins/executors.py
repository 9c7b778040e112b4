"""Driving the SQL functions directly: calls with named arguments, and an executor that is only rows and calls."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

Connection = psycopg.Connection[Any]
Row = dict[str, Any]
TTL = timedelta(seconds=15)


def token() -> int:
    return secrets.randbits(63)


def rows(connection: Connection, function: str, **arguments: Any) -> list[Row]:
    """All rows of `pyengine.function(p_name => value, …)`."""
    named = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name)) for name in arguments
    )
    query = sql.SQL("select * from pyengine.{}({})").format(sql.Identifier(function), named)
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, arguments).fetchall()


def row(connection: Connection, function: str, **arguments: Any) -> Row:
    found = rows(connection, function, **arguments)
    assert len(found) == 1, found
    return found[0]


def value(connection: Connection, function: str, **arguments: Any) -> Any:
    return next(iter(row(connection, function, **arguments).values()))


def read(connection: Connection, query: str, *arguments: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, arguments).fetchall()


def rows_read(connection: Connection) -> Counter[str]:
    """What this session has fetched and not reported yet, a table: by index, or by reading the table whole."""
    found = read(
        connection,
        "select s.relname, coalesce(s.seq_tup_read, 0) + coalesce(s.idx_tup_fetch, 0) as n"
        " from pg_stat_xact_user_tables as s where s.schemaname = 'pyengine'",
    )
    return Counter({each["relname"]: each["n"] for each in found})


class Executor:
    """One registered executor. Every call goes over `connection` unless another one is put there."""

    def __init__(self, connection: Connection, **arguments: Any) -> None:
        self.connection = connection
        self.nonce = token()
        self.registration: Row = {
            "nonce": self.nonce, "label": "local", "host": "here", "pid": 1, "boot_id": "boot", "pid_namespace": "ns",
            "process_started": "1", "application": "app", "app_version": "v1", "protocol": 1, "lease_ttl": TTL,
            "seat": "here/local", "is_supervised": False, "is_isolated": False, "is_pooled": False,
        } | arguments  # fmt: skip
        self.version = self.registration["app_version"]
        self.registered = row(connection, "register_executor", **self.registration)
        self.id: int = self.registered["executor_id"]

    @property
    def me(self) -> Row:
        return {"executor_id": self.id, "nonce": self.nonce}

    def start(self, workflow_id: str, fence: int | None = None, **arguments: Any) -> Row:
        given: Row = dict.fromkeys(
            ("class_name", "config_name", "inputs", "timeout", "deadline", "max_recovery_attempts", "attributes",
             "authenticated_user", "assumed_role", "authenticated_roles", "parent_id", "parent_fence", "parent_step_id")
        )  # fmt: skip
        given |= {"fence": fence or token(), "start_token": token(), "workflow_id": workflow_id, "name": "flow"}
        given |= {"application": "app", "app_version": self.version}
        return row(self.connection, "start_workflow", **self.me, **(given | arguments))

    def start_child(self, workflow_id: str, parent_id: str, parent_fence: int, step_id: int, **arguments: Any) -> Row:
        given: Row = {"parent_id": parent_id, "parent_fence": parent_fence, "parent_step_id": step_id, "name": "child"}
        return self.start(workflow_id, **(given | arguments))

    def checkpoint(self, workflow_id: str, fence: int, step_id: int, **arguments: Any) -> Row:
        given: Row = {"name": "step", "output": b"j1", "error": None, "child_id": None, "elapsed": timedelta(0)}
        claim = {"workflow_id": workflow_id, "fence": fence, "step_id": step_id}
        return row(self.connection, "record_checkpoint", **self.me, **claim, **(given | arguments))

    def sleep(self, workflow_id: str, fence: int, step_id: int, seconds: float) -> Row:
        claim = {"workflow_id": workflow_id, "fence": fence, "step_id": step_id}
        duration = timedelta(seconds=seconds)
        return row(self.connection, "record_sleep", **self.me, **claim, name="DBOS.sleep", duration=duration)

    def attempt(self, workflow_id: str, fence: int, step_id: int, attempt: int, error: bytes = b"e") -> str:
        claim = {"workflow_id": workflow_id, "fence": fence, "step_id": step_id}
        found: str = value(self.connection, "record_attempt", **self.me, **claim, attempt=attempt, error=error)
        return found

    def finish(self, workflow_id: str, fence: int, status: str = "SUCCESS", **arguments: Any) -> str:
        given: Row = {"output": b"j2", "error": None}
        claim = {"workflow_id": workflow_id, "fence": fence, "status": status}
        found: str = value(self.connection, "finish_workflow", **self.me, **claim, **(given | arguments))
        return found

    def beat(self, *held: int, queues: list[str] | None = None) -> Row:
        return self.tick(list(held), queues)

    def tick(
        self,
        held: list[int] | None = None,
        queues: list[str] | None = None,
        looks_for_the_dead: bool | None = None,
        seeks_claims: bool = True,
    ) -> Row:
        given = {"held_fences": held, "queues": queues or [], "accepts_unversioned": True}
        given |= {"looks_for_the_dead": looks_for_the_dead, "seeks_claims": seeks_claims}
        return row(self.connection, "tick", **self.me, **given)

    def hold_liveness(self) -> bool:
        found: bool = value(self.connection, "hold_liveness", **self.me)
        return found

    def retire(self, reason: str = "retired") -> None:
        rows(self.connection, "retire_executor", **self.me, reason=reason)

    def mark_dead(
        self, other: Executor, reason: str = "process_gone", detail: str | None = None, culprit: str | None = None
    ) -> bool:
        given = {"reason": reason, "detail": detail, "culprit": culprit}
        found: bool = value(self.connection, "mark_executor_dead", **other.me, **given)
        return found

    def take_over(self, other: Executor, limit: int = 100) -> tuple[int, int, bool]:
        found = row(self.connection, "take_over_executor", dead_id=other.id, limit=limit)
        return found["moved"], found["quarantined"], found["remaining"]

    def housekeep(self, looks_for_the_dead: bool = True) -> list[tuple[str, int | None]]:
        found = rows(self.connection, "housekeep", **self.me, looks_for_the_dead=looks_for_the_dead)
        return [(duty["duty"], duty["subject"]) for duty in found]

    def stored(self) -> Row:
        return read(self.connection, "select * from pyengine.executors where executor_id = %s", self.id)[0]

    @property
    def dead_reason(self) -> str | None:
        reason: str | None = self.stored()["dead_reason"]
        return reason


def in_flight(connection: Connection, workflow_id: str) -> Row | None:
    return next(iter(read(connection, "select * from pyengine.in_flight where workflow_id = %s", workflow_id)), None)


def outcome(connection: Connection, workflow_id: str) -> Row | None:
    return next(iter(read(connection, "select * from pyengine.outcomes where workflow_id = %s", workflow_id)), None)


def put_in_flight(connection: Connection, workflow_id: str, **columns: Any) -> None:
    """A header and an in-flight row as they are after an enqueue, without its checks."""
    connection.execute(
        "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
        " values (%s, 'flow', 'app', 1, pyengine._now())",
        (workflow_id,),
    )
    crashes, limit = columns.get("crashes", 0), columns.get("max_recovery_attempts")
    is_suspect = crashes >= 3 or (limit is not None and crashes > limit)
    given: Row = {
        "workflow_id": workflow_id, "status": "ENQUEUED", "queue": "q", "application": "app", "is_suspect": is_suspect,
    } | columns  # fmt: skip
    if given["status"] == "PENDING":
        given.setdefault("claim_seq", 0)
    query = sql.SQL("insert into pyengine.in_flight ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, given)), sql.SQL(", ").join(map(sql.Placeholder, given))
    )
    connection.execute(query, given)


@pytest.fixture
def new_executor(session_factory: Callable[..., Connection]) -> Callable[..., Executor]:
    """`new_executor(**registration)`: an executor on a connection of its own."""

    def register(**arguments: Any) -> Executor:
        return Executor(session_factory(), **arguments)

    return register


@pytest.fixture
def executor(new_executor: Callable[..., Executor]) -> Executor:
    return new_executor()
