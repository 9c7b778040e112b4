"""The one call of the engine that goes over a connection of the user's, inside a transaction of the user's."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from ..errors import DBOSException
from . import calls
from .function import quote, statement

_IDLE = 0


def lock_claim(connection: Any, schema: str, workflow_id: str, fence: int) -> str:
    """Over a connection of psycopg or another DB-API driver of its style, or an SQLAlchemy session or connection."""
    if _is_sqlalchemy(connection):
        answer: str = connection.execute(*_for_sqlalchemy(schema, workflow_id, fence)).scalar_one()
        return answer
    _check_transaction(connection)
    options = {"row_factory": tuple_row} if isinstance(connection, psycopg.Connection) else {}
    with connection.cursor(**options) as cursor:
        cursor.execute(*_for_driver(schema, workflow_id, fence))
        return str(cursor.fetchone()[0])


async def lock_claim_async(connection: Any, schema: str, workflow_id: str, fence: int) -> str:
    """Over an async connection of psycopg, or an async SQLAlchemy session or connection."""
    if _is_sqlalchemy(connection):
        result = await connection.execute(*_for_sqlalchemy(schema, workflow_id, fence))
        answer: str = result.scalar_one()
        return answer
    _check_transaction(connection)
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(*_for_driver(schema, workflow_id, fence))
        return str((await cursor.fetchone())[0])


def _check_transaction(connection: Any) -> None:
    """In autocommit mode the lock would be gone before the answer is read."""
    if getattr(connection, "autocommit", False) is True and connection.info.transaction_status == _IDLE:
        raise DBOSException(
            "lock_claim() holds the claim until the transaction ends, but this connection is in autocommit mode and in "
            "no transaction: begin one first, as with connection.transaction()"
        )


def _is_sqlalchemy(connection: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "sqlalchemy" for base in type(connection).__mro__)


def _for_driver(schema: str, workflow_id: str, fence: int) -> tuple[str, Sequence[Any]]:
    values = calls.lock_claim.bind({"workflow_id": workflow_id, "fence": fence})
    return statement(calls.lock_claim, schema).decode(), values


def _for_sqlalchemy(schema: str, workflow_id: str, fence: int) -> tuple[Any, dict[str, Any]]:
    text = importlib.import_module("sqlalchemy").text
    call = "lock_claim(p_workflow_id => cast(:workflow_id as text), p_fence => cast(:fence as bigint))"
    return text(f"select {quote(schema)}.{call}"), {"workflow_id": workflow_id, "fence": fence}
