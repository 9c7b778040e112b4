"""Put the shipped functions into the schema: only those that changed, and without leaving an old signature behind."""

from __future__ import annotations

from typing import Any

import psycopg

from pyengine.schema import inventory, statements
from pyengine.schema.names import Schema
from pyengine.schema.report import InstallReport
from pyengine.schema.sources import Function, Sources

# `create or replace` refuses another return type, renamed arguments, or another kind of routine.
_CANNOT_REPLACE = (psycopg.errors.InvalidFunctionDefinition, psycopg.errors.WrongObjectType)


def apply(conn: psycopg.Connection[Any], schema: Schema, sources: Sources, report: InstallReport) -> None:
    recorded = inventory.recorded_functions(conn, schema)
    present = inventory.present_functions(conn, schema)
    changed: list[Function] = []
    for function in sources.functions:
        known = recorded.get(function.name)
        if (
            known is not None
            and known.checksum == function.checksum
            and known.argument_types in present.get(function.name, ())
        ):
            continue
        changed.append(function)
        if function.name in present:
            _replace(conn, schema, sources, function, known, report)
            report.functions_replaced.append(function.name)
        else:
            _create(conn, schema, function)
            report.functions_created.append(function.name)
    if changed:
        _drop_old_signatures(conn, schema, sources, changed, recorded, present, report)
    _drop_removed(conn, schema, sources, recorded, present, report)
    if changed:
        conn.execute(statements.record_functions(schema, changed).encode())


def _create(conn: psycopg.Connection[Any], schema: Schema, function: Function) -> None:
    try:
        conn.execute(schema.rewrite(function.text).encode())
    except psycopg.Error as exc:
        note(exc, f"in sql/functions/…/{function.name}.sql")
        raise


def _replace(
    conn: psycopg.Connection[Any],
    schema: Schema,
    sources: Sources,
    function: Function,
    known: inventory.Recorded | None,
    report: InstallReport,
) -> None:
    try:
        with conn.transaction():
            _create(conn, schema, function)
    except _CANNOT_REPLACE:
        if known is None:
            raise
        _drop(conn, schema, sources, function.name, known.argument_types, report)
        _create(conn, schema, function)


def _drop_old_signatures(
    conn: psycopg.Connection[Any],
    schema: Schema,
    sources: Sources,
    changed: list[Function],
    recorded: dict[str, inventory.Recorded],
    before: dict[str, set[str]],
    report: InstallReport,
) -> None:
    """Other argument types make a second function of the same name: the recorded one goes."""
    after = inventory.present_functions(conn, schema)
    for function in changed:
        known = recorded.get(function.name)
        now = after.get(function.name)
        if now is None:
            raise RuntimeError(f"{function.name}.sql does not create a function of that name")
        is_new = now - before.get(function.name, set())
        if known is not None and is_new and known.argument_types in now - is_new:
            _drop(conn, schema, sources, function.name, known.argument_types, report)
            now.discard(known.argument_types)
        if len(now) > 1:
            raise RuntimeError(
                f"schema {schema.name!r} has several functions {function.name}: ({'), ('.join(sorted(now))}); "
                f"drop the one that is not the engine's"
            )


def _drop_removed(
    conn: psycopg.Connection[Any],
    schema: Schema,
    sources: Sources,
    recorded: dict[str, inventory.Recorded],
    present: dict[str, set[str]],
    report: InstallReport,
) -> None:
    shipped = {function.name for function in sources.functions}
    removed = sorted(set(recorded) - shipped)
    for name in removed:
        if recorded[name].argument_types in present.get(name, ()):
            _drop(conn, schema, sources, name, recorded[name].argument_types, report)
        report.functions_dropped.append(name)
    if removed:
        conn.execute(statements.forget_functions(schema, removed).encode())


def _drop(
    conn: psycopg.Connection[Any],
    schema: Schema,
    sources: Sources,
    name: str,
    argument_types: str,
    report: InstallReport,
) -> None:
    statement = statements.drop_function(schema, name, argument_types).encode()
    try:
        with conn.transaction():
            conn.execute(statement)
    except psycopg.errors.DependentObjectsStillExist:
        # Our own views may use it; they are made again right after the functions. What is not ours stays an error.
        drop_views(conn, schema, sources)
        report.views = True
        conn.execute(statement)


def note(exc: BaseException, text: str) -> None:
    # Python 3.10 has no notes.
    if hasattr(exc, "add_note"):
        exc.add_note(text)


def drop_views(conn: psycopg.Connection[Any], schema: Schema, sources: Sources) -> None:
    for view in reversed(sources.view_names):
        conn.execute(f'drop view if exists {schema.quoted}."{view}"'.encode())


def apply_views(conn: psycopg.Connection[Any], schema: Schema, sources: Sources) -> None:
    text = schema.rewrite(sources.views).encode()
    try:
        with conn.transaction():
            conn.execute(text)
    except psycopg.errors.InvalidTableDefinition:
        # `create or replace view` can only add columns at the end.
        drop_views(conn, schema, sources)
        conn.execute(text)
