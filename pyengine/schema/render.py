"""The whole installation as one text for psql, for those whose databases are changed by people and not by programs."""

from __future__ import annotations

from pyengine.schema import session, statements
from pyengine.schema.database import DATABASE_COMMENT
from pyengine.schema.names import DEFAULT_SCHEMA, Schema
from pyengine.schema.sources import Sources, load


def render(schema: str = DEFAULT_SCHEMA, *, sources: Sources | None = None) -> str:
    """Repeatable: piped into psql a second time it changes nothing but the bookkeeping's date."""
    named, shipped = Schema(schema), sources or load()
    parts = [_head(named, shipped), _create_schema(named)]
    for migration in shipped.migrations:
        # The bookkeeping table itself comes with the first one.
        applied = (
            f"to_regclass({statements.literal(f'{named.quoted}.migrations')}) is null"
            if migration.version == 0
            else f"not exists (select from {named.quoted}.migrations where version = {migration.version})"
        )
        body = f"{named.rewrite(migration.text)}\n{statements.record_migration(named, migration)}"
        parts.append(_if(applied, f"\\echo applying migration {migration.label}\n{body}"))
    parts.append(_drop_changed(named, shipped))
    parts += [named.rewrite(function.text) for function in shipped.functions]
    if shipped.functions:
        parts.append(statements.record_functions(named, shipped.functions))
    parts.append(named.rewrite(shipped.views))
    parts.append(statements.record_engine(named, shipped, session.RELEASE, DATABASE_COMMENT))
    parts.append(named.rewrite(shipped.grants))
    parts.append("commit;")
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _head(schema: Schema, sources: Sources) -> str:
    return f"""\
-- pyengine {session.RELEASE}: schema {schema.quoted}, version {sources.version}.
-- Run as the role that is to own the schema:  pyengine migrate --print | psql -X "$DATABASE_URL"
\\set ON_ERROR_STOP on
\\set QUIET on
begin;
set local lock_timeout = '5s';
set local statement_timeout = 0;
set local search_path = pg_catalog, pg_temp;
set local check_function_bodies = off;
set local client_min_messages = warning;
do $lock$
begin
  perform pg_advisory_xact_lock(hashtextextended({statements.literal(f"pyengine.install:{schema.name}")}, 0));
end;
$lock$;"""


def _create_schema(schema: Schema) -> str:
    # Not `if not exists`: that asks for the right to create schemas even where there is nothing to create.
    return _if(f"to_regnamespace({statements.literal(schema.quoted)}) is null", statements.create_schema(schema))


def _drop_changed(schema: Schema, sources: Sources) -> str:
    """Functions whose text changed, or which are gone: psql cannot find out which of them could have been replaced."""
    shipped = ", ".join(
        f"({statements.literal(function.name)}, {statements.literal(function.checksum)})"
        for function in sources.functions
    )
    changed = f"(f.name, f.checksum) not in ({shipped})" if shipped else "true"
    table = f"{schema.quoted}.installed_functions"
    return (
        f"select format('drop function if exists {schema.quoted}.%I(%s)', f.name, f.argument_types)\n"
        f"from {table} as f\nwhere {changed} \\gexec\n"
        f"delete from {table} as f where {changed};"
    )


def _if(condition: str, body: str) -> str:
    return f"select {condition} as pending \\gset\n\\if :pending\n{body}\n\\endif"
