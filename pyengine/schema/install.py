"""Install or upgrade the schema: one transaction, one installer at a time, nothing written when nothing changed."""

from __future__ import annotations

import random
from time import sleep
from typing import Any

import psycopg

from pyengine.schema import functions, inventory, session, statements
from pyengine.schema.database import DATABASE_COMMENT
from pyengine.schema.names import DEFAULT_SCHEMA, Schema
from pyengine.schema.report import InstallReport, changed_migration
from pyengine.schema.sources import Sources, checksum, load
from pyengine.schema.versions import EngineRow, is_newer, read_engine

_ATTEMPTS = 5
_RETRYABLE = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


def install(
    url: str,
    schema: str = DEFAULT_SCHEMA,
    *,
    lock_timeout_seconds: float = 5.0,
    wait_seconds: float = 60.0,
    sources: Sources | None = None,
    release: str | None = None,
) -> InstallReport:
    """Bring the schema to this engine's version.

    Safe in any number of processes at once: one installs, the others wait (at most `wait_seconds`) and find nothing
    left to do. A statement that waits for somebody's table lock longer than `lock_timeout_seconds` is rolled back and
    tried again, so that a migration never queues in front of a live system's traffic for long.
    """
    with session.connect(url) as conn:
        return install_on(
            conn,
            Schema(schema),
            lock_timeout_seconds=lock_timeout_seconds,
            wait_seconds=wait_seconds,
            sources=sources or load(),
            release=release or session.RELEASE,
        )


def install_on(
    conn: psycopg.Connection[Any],
    schema: Schema,
    *,
    lock_timeout_seconds: float = 5.0,
    wait_seconds: float = 60.0,
    sources: Sources,
    release: str,
) -> InstallReport:
    """The same on an open autocommit connection."""
    if (done := _nothing_to_do(read_engine(conn, schema), schema, sources, release)) is not None:
        return done
    session.begin(conn)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with conn.transaction():
                return _install(conn, schema, sources, release, lock_timeout_seconds, wait_seconds)
        except _RETRYABLE:
            if attempt == _ATTEMPTS:
                raise
            # Whoever holds the lock gets time to let go; several retrying installers spread out.
            sleep(random.uniform(0.2, 1.0) * attempt)
    raise AssertionError("unreachable")


def _nothing_to_do(row: EngineRow | None, schema: Schema, sources: Sources, release: str) -> InstallReport | None:
    if row is None:
        return None
    report = InstallReport(schema.name, row.schema_version)
    if row.digest == sources.digest:
        return report
    if is_newer(row, sources, release):
        report.warnings.append(
            f"schema {schema.name!r} (version {row.schema_version}, release {row.release}) is newer than this engine "
            f"(version {sources.version}, release {release}): left as it is"
        )
        return report
    return None


def _install(
    conn: psycopg.Connection[Any],
    schema: Schema,
    sources: Sources,
    release: str,
    lock_timeout_seconds: float,
    wait_seconds: float,
) -> InstallReport:
    waited = session.lock(conn, schema.name, wait_seconds)
    for name, value in (
        ("lock_timeout", f"{max(1, round(lock_timeout_seconds * 1000))}ms"),
        # A role's default must not cut off an index build.
        ("statement_timeout", "0"),
        ("search_path", "pg_catalog, pg_temp"),
        # Functions may name each other in any order.
        ("check_function_bodies", "off"),
        ("client_min_messages", "warning"),
    ):
        session.set_local(conn, name, value)

    found = inventory.take(conn, schema)
    inventory.refuse_foreign(found, schema)
    row = read_engine(conn, schema) if found.is_engine else None
    if (done := _nothing_to_do(row, schema, sources, release)) is not None:
        done.waited = waited
        return done
    if not found.may_migrate:
        raise _not_allowed(found, schema)
    _become_owner(conn, found)

    report = InstallReport(schema.name, sources.version, waited=waited, changed=True)
    if not found.schema_exists:
        conn.execute(statements.create_schema(schema).encode())
        report.created_schema = True
    _apply_migrations(conn, schema, sources, found, report)
    functions.apply(conn, schema, sources, report)
    if sources.views and (report.views or row is None or row.views_checksum != checksum(sources.views)):
        functions.apply_views(conn, schema, sources)
        report.views = True
    conn.execute(statements.record_engine(schema, sources, release, DATABASE_COMMENT).encode())
    if sources.grants:
        # Every time: a function that was dropped and made again has lost its grants, a new one is open to PUBLIC.
        conn.execute(schema.rewrite(sources.grants).encode())
    return report


def _apply_migrations(
    conn: psycopg.Connection[Any],
    schema: Schema,
    sources: Sources,
    found: inventory.Inventory,
    report: InstallReport,
) -> None:
    applied = inventory.applied_migrations(conn, schema) if found.is_engine else {}
    for migration in sources.migrations:
        if migration.version not in applied:
            try:
                conn.execute(schema.rewrite(migration.text).encode())
            except psycopg.Error as exc:
                functions.note(exc, f"in migration {migration.label}")
                raise
            conn.execute(statements.record_migration(schema, migration).encode())
            report.migrations.append(migration.label)
        elif applied[migration.version] != migration.checksum:
            report.warnings.append(changed_migration(migration.label))


def _become_owner(conn: psycopg.Connection[Any], found: inventory.Inventory) -> None:
    """Whoever migrates, all objects belong to one owner: else the next one could not replace them."""
    if not found.is_engine or found.owner is None or found.owner == found.role:
        return
    try:
        with conn.transaction():
            session.set_local(conn, "role", found.owner)
    except psycopg.errors.InsufficientPrivilege:
        # A member without the right to SET ROLE (Postgres 16 on) still owns by inheritance.
        return


def _not_allowed(found: inventory.Inventory, schema: Schema) -> Exception:
    from pyengine.errors import DBOSInitializationError

    if found.is_engine:
        who = f"as its owner {found.owner!r}"
    elif found.schema_exists:
        who = "as a role that may create objects in it"
    else:
        who = "as a role with the right CREATE on the database"
    return DBOSInitializationError(
        f"role {found.role!r} may not migrate schema {schema.name!r} in database {found.database!r}; "
        f"run `pyengine migrate` {who}"
    )
