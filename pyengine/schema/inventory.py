"""What the catalog says about a schema, before anything is changed in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from pyengine.schema.names import Schema

# Any one of these as a table means that DBOS Transact keeps its own state there.
_PEER_TABLES = frozenset({"workflow_status", "operation_outputs", "dbos_migrations"})


@dataclass(frozen=True)
class Inventory:
    schema_exists: bool
    is_engine: bool
    foreign_relations: tuple[str, ...]
    database: str
    role: str
    owner: str | None
    may_migrate: bool

    @property
    def peer_tables(self) -> tuple[str, ...]:
        return tuple(sorted(_PEER_TABLES.intersection(self.foreign_relations)))


def set_role_privilege(conn: psycopg.Connection[Any]) -> str:
    """What to ask pg_has_role whether SET ROLE would work: since 16 a member need not have that right."""
    return "set" if conn.info.server_version >= 160000 else "member"


def take(conn: psycopg.Connection[Any], schema: Schema) -> Inventory:
    """One look at the schema: whose it is, and whether this role may install there."""
    row = conn.execute(
        """
        select n.oid is not null,
               c.oid is not null,
               current_database(),
               current_user::text,
               coalesce(pg_get_userbyid(c.relowner), pg_get_userbyid(n.nspowner))::text,
               case
                 when c.oid is not null then pg_has_role(c.relowner, 'usage') or pg_has_role(c.relowner, %s)
                 when n.oid is not null then has_schema_privilege(n.oid, 'create')
                 else has_database_privilege(current_database(), 'create')
               end,
               case when c.oid is null then coalesce((
                 select array_agg(r.relname::text order by r.relname)
                   from pg_catalog.pg_class as r
                  where r.relnamespace = n.oid and r.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
               ), '{}') else '{}' end
          from (select %s::text as name) as wanted
          left join pg_catalog.pg_namespace as n on n.nspname = wanted.name
          left join pg_catalog.pg_class as c
            on c.relnamespace = n.oid and c.relname = 'engine' and c.relkind = 'r'
           and exists (
                 select from pg_catalog.pg_class as f
                  where f.relnamespace = n.oid and f.relname = 'installed_functions' and f.relkind = 'r'
               )
        """,
        (set_role_privilege(conn), schema.name),
    ).fetchone()
    assert row is not None
    exists, is_engine, database, role, owner, may_migrate, relations = row
    return Inventory(exists, is_engine, tuple(relations), database, role, owner, bool(may_migrate))


def refuse_foreign(found: Inventory, schema: Schema) -> None:
    """A schema in which somebody else keeps tables is never installed into: a reset would take those along."""
    from pyengine.errors import DBOSInitializationError

    if found.is_engine or not found.foreign_relations:
        return
    if found.peer_tables:
        raise DBOSInitializationError(
            f"schema {schema.name!r} in database {found.database!r} holds the tables of DBOS Transact "
            f"({', '.join(found.peer_tables)}); pyengine does not share a schema with it: set `dbos_system_schema` to "
            f"another name, such as 'pyengine', or leave it out"
        )
    shown = ", ".join(found.foreign_relations[:3]) + (", …" if len(found.foreign_relations) > 3 else "")
    raise DBOSInitializationError(
        f"schema {schema.name!r} in database {found.database!r} already holds relations that are not the engine's "
        f"({shown}); set `dbos_system_schema` to a schema of its own"
    )


def applied_migrations(conn: psycopg.Connection[Any], schema: Schema) -> dict[int, str]:
    query = f"select version, checksum from {schema.quoted}.migrations"
    return dict(conn.execute(query.encode()).fetchall())


@dataclass(frozen=True)
class Recorded:
    argument_types: str
    checksum: str


def recorded_functions(conn: psycopg.Connection[Any], schema: Schema) -> dict[str, Recorded]:
    query = f"select name, argument_types, checksum from {schema.quoted}.installed_functions"
    return {name: Recorded(types, checksum) for name, types, checksum in conn.execute(query.encode())}


def present_functions(conn: psycopg.Connection[Any], schema: Schema) -> dict[str, set[str]]:
    """Name → argument types of each function of that name which exists in the schema."""
    rows = conn.execute(
        """
        select p.proname::text, oidvectortypes(p.proargtypes)
          from pg_catalog.pg_proc as p
          join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
         where n.nspname = %s
        """,
        (schema.name,),
    )
    found: dict[str, set[str]] = {}
    for name, types in rows:
        found.setdefault(name, set()).add(types)
    return found
