"""SQL text of the bookkeeping, shared by `install` (which runs it) and `render` (which prints it)."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from pyengine.schema.names import Schema
from pyengine.schema.sources import Function, Migration, Sources, checksum


def literal(value: str | None) -> str:
    return "null" if value is None else sql.Literal(value).as_string(None)


def create_schema(schema: Schema) -> str:
    return f"create schema {schema.quoted};"


def record_migration(schema: Schema, migration: Migration) -> str:
    return (
        f"insert into {schema.quoted}.migrations (version, name, checksum, applied_at)\n"
        f"values ({migration.version}, {literal(migration.name)}, {literal(migration.checksum)}, clock_timestamp());"
    )


def record_functions(schema: Schema, functions: Iterable[Function]) -> str:
    """The identity comes from the catalog: what Postgres made of the text is what must be dropped one day."""
    values = ",\n  ".join(f"({literal(f.name)}, {literal(f.checksum)})" for f in functions)
    return (
        f"insert into {schema.quoted}.installed_functions as f (name, argument_types, checksum, installed_at)\n"
        f"select v.name, oidvectortypes(p.proargtypes), v.checksum, clock_timestamp()\n"
        f"from (values\n  {values}\n) as v (name, checksum)\n"
        f"join pg_catalog.pg_proc as p on p.proname = v.name\n"
        f"join pg_catalog.pg_namespace as n on n.oid = p.pronamespace and n.nspname = {literal(schema.name)}\n"
        f"on conflict (name) do update\n"
        f"set argument_types = excluded.argument_types, checksum = excluded.checksum,\n"
        f"  installed_at = excluded.installed_at\n"
        f"where f.checksum <> excluded.checksum or f.argument_types <> excluded.argument_types;"
    )


def forget_functions(schema: Schema, names: Iterable[str]) -> str:
    listed = ", ".join(literal(name) for name in names)
    return f"delete from {schema.quoted}.installed_functions where name in ({listed});"


def drop_function(schema: Schema, name: str, argument_types: str) -> str:
    return f'drop function {schema.quoted}."{name}"({argument_types});'


def record_engine(schema: Schema, sources: Sources, release: str, database_comment: str) -> str:
    """Version and oldest protocol never go back; `created_database` is decided once, at the first install."""
    views = literal(checksum(sources.views))
    return (
        f"insert into {schema.quoted}.engine as e (\n"
        f"  schema_version, oldest_protocol, release, digest, views_checksum, created_database,\n"
        f"  installed_at, changed_at\n"
        f")\n"
        f"select {sources.version}, {sources.oldest_protocol}, {literal(release)}, {literal(sources.digest)},\n"
        f"  {views},\n"
        f"  coalesce(shobj_description(d.oid, 'pg_database') = {literal(database_comment)}, false),\n"
        f"  clock_timestamp(), clock_timestamp()\n"
        f"from pg_catalog.pg_database as d\n"
        f"where d.datname = current_database()\n"
        f"on conflict (singleton) do update\n"
        f"set schema_version = greatest(e.schema_version, excluded.schema_version),\n"
        f"  oldest_protocol = greatest(e.oldest_protocol, excluded.oldest_protocol),\n"
        f"  release = excluded.release, digest = excluded.digest, views_checksum = excluded.views_checksum,\n"
        f"  changed_at = excluded.changed_at;"
    )
