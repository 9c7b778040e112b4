"""Create the database that a URL names, when it is missing and this role may."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pyengine.schema import session

# The comment by which a database says that it was created for the engine. It belongs to this very database: a clone
# or a restored dump that merely carries the bookkeeping row is not ours to drop.
DATABASE_COMMENT = "created by pyengine"

_MAINTENANCE = ("postgres", "template1")
# A pooler that the server has just refused lets its clients wait (PgBouncer's server_login_retry: 15 s).
_POOLER_FORGETS_SECONDS = 40
_ALREADY_THERE = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)


def database_name(url: str) -> str:
    """The database libpq would connect to: by default the user's name."""
    given = conninfo_to_dict(url)
    name = given.get("dbname") or given.get("user")
    return str(name) if name else ""


def ensure_database(url: str) -> bool:
    """True: it was missing and has been created. Race-safe: of several processes exactly one is told True."""
    try:
        session.connect(url).close()
    except psycopg.OperationalError as refused:
        # Whether the database is missing is not asked of the message, which comes in the server's language.
        return _create_if_missing(url, refused)
    return False


def is_missing(url: str) -> bool:
    """Whether the server is there and the database is not. Asked of the catalog: messages come in its language."""
    name = database_name(url)
    try:
        with maintenance_connection(url) as conn:
            found = conn.execute("select from pg_catalog.pg_database where datname = %s", (name,)).fetchone()
    except psycopg.Error:
        return False
    return found is None


def maintenance_connection(url: str, refused: BaseException | None = None) -> psycopg.Connection[Any]:
    """A connection to the same server beside the database of the URL."""
    failure: BaseException | None = None
    for name in _MAINTENANCE:
        try:
            return session.connect(url, dbname=name)
        except psycopg.OperationalError as exc:
            failure = failure or exc
    assert failure is not None
    raise (refused or failure) from failure


def _create_if_missing(url: str, refused: psycopg.OperationalError) -> bool:
    name = database_name(url)
    if not name or name in _MAINTENANCE:
        raise refused
    with maintenance_connection(url, refused) as conn:
        if conn.execute("select from pg_catalog.pg_database where datname = %s", (name,)).fetchone() is not None:
            if _reachable(url):
                # Created by somebody else between the two connections.
                return False
            raise refused
        try:
            _create(conn, name)
        except _ALREADY_THERE:
            return False
        except psycopg.errors.InsufficientPrivilege as exc:
            raise _not_allowed(conn, name) from exc
        comment = sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(DATABASE_COMMENT))
        conn.execute(comment)
    session.connect(url, connect_timeout=_POOLER_FORGETS_SECONDS).close()
    return True


def _reachable(url: str) -> bool:
    try:
        session.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _create(conn: psycopg.Connection[Any], name: str) -> None:
    # template0: nobody is ever connected to it, and template1 may hold an encoding that cannot keep every text.
    statement = sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name))
    try:
        conn.execute(statement)
    except psycopg.errors.InvalidParameterValue:
        # The server's locale belongs to another encoding.
        conn.execute(statement + sql.SQL(" lc_collate 'C' lc_ctype 'C'"))


def _not_allowed(conn: psycopg.Connection[Any], name: str) -> Exception:
    from pyengine.errors import DBOSInitializationError

    role = conn.info.user
    statement = (
        sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(role)).as_string(conn)
    )
    return DBOSInitializationError(
        f"database {name!r} does not exist and role {role!r} may not create it; have it created: {statement}"
    )
