"""Remove what the engine installed, and nothing else."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from pyengine.schema import database, inventory, session
from pyengine.schema.database import DATABASE_COMMENT
from pyengine.schema.names import DEFAULT_SCHEMA, Schema
from pyengine.schema.versions import read_engine

_TRIES = 10


def reset(url: str, schema: str = DEFAULT_SCHEMA, *, yes: bool = False, lock_timeout_seconds: float = 5.0) -> list[str]:
    """Drop the schema, or the whole database where it was created for the engine and nobody else keeps anything in it.

    Everything is lost: without `yes` nothing is done. Returns what was done, a line each.
    """
    if not yes:
        raise ValueError("a reset deletes every workflow; pass yes=True if that is what you want")
    named = Schema(schema)
    try:
        conn = session.connect(url)
    except psycopg.OperationalError:
        if database.is_missing(url):
            return [f"database {database.database_name(url)!r} does not exist: nothing to do"]
        raise
    with conn:
        found = inventory.take(conn, named)
        inventory.refuse_foreign(found, named)
        if not found.is_engine:
            return [f"schema {schema!r} is not installed in database {found.database!r}: nothing to do"]
        others = _others_in(conn, named)
        if _created_for_engine(conn, named) and not others:
            name = found.database
        else:
            return _drop_schema(conn, named, found, lock_timeout_seconds)
    return _drop_database(url, name)


def _created_for_engine(conn: psycopg.Connection[Any], schema: Schema) -> bool:
    """Both records must agree: the row travels with clones and dumps, the comment belongs to this very database."""
    row = conn.execute(
        """
        select shobj_description(d.oid, 'pg_database') is not distinct from %s
          from pg_catalog.pg_database as d
         where d.datname = current_database()
        """,
        (DATABASE_COMMENT,),
    ).fetchone()
    engine = read_engine(conn, schema)
    return bool(row and row[0] and engine and engine.created_database)


def _others_in(conn: psycopg.Connection[Any], schema: Schema) -> bool:
    """Tables outside the schema: of the user's application, or of a second engine."""
    row = conn.execute(
        """
        select from pg_catalog.pg_class as c
          join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
         where n.nspname <> %s and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
           and c.relkind in ('r', 'p', 'm', 'f')
         limit 1
        """,
        (schema.name,),
    ).fetchone()
    return row is not None


def _drop_schema(
    conn: psycopg.Connection[Any], schema: Schema, found: inventory.Inventory, lock_timeout_seconds: float
) -> list[str]:
    session.begin(conn)
    try:
        _drop_tables(conn, schema, lock_timeout_seconds)
    except psycopg.errors.InsufficientPrivilege as exc:
        from pyengine.errors import DBOSInitializationError

        raise DBOSInitializationError(
            f"role {found.role!r} may not drop schema {schema.name!r} in database {found.database!r}; "
            f"run `pyengine reset` as its owner"
        ) from exc
    return [f"dropped schema {schema.name!r} in database {found.database!r}; the database stays"]


def _drop_tables(conn: psycopg.Connection[Any], schema: Schema, lock_timeout_seconds: float) -> None:
    for tries_left in reversed(range(_TRIES)):
        try:
            with conn.transaction():
                session.lock(conn, schema.name, lock_timeout_seconds)
                session.set_local(conn, "lock_timeout", f"{max(1, round(lock_timeout_seconds * 1000))}ms")
                session.set_local(conn, "client_min_messages", "warning")
                conn.execute(f"drop schema {schema.quoted} cascade".encode())
            return
        except psycopg.errors.DeadlockDetected:
            # The tables are dropped in no order that a call that is just running could follow.
            if not tries_left:
                raise


def _drop_database(url: str, name: str) -> list[str]:
    with database.maintenance_connection(url) as conn:
        # Its connections are executors' and clients' of the engine: it was made for nobody else.
        conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    return [f"dropped database {name!r}, which had been created for the engine"]
