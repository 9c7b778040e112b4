"""Group roles of least privilege: owner (migrates), executor, client, reader. Made only when asked for."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from pyengine.schema import inventory, session
from pyengine.schema.names import DEFAULT_SCHEMA, Schema
from pyengine.schema.sources import Sources, load

_PURPOSE = {
    "owner": "owns the schema and migrates it",
    "executor": "runs workflows",
    "client": "enqueues, cancels, resumes and reads",
    "reader": "reads",
}


def make_roles(
    url: str,
    schema: str = DEFAULT_SCHEMA,
    *,
    owner: str = "pyengine_owner",
    executor: str = "pyengine_executor",
    client: str = "pyengine_client",
    reader: str = "pyengine_reader",
    sources: Sources | None = None,
) -> list[str]:
    """Create the roles that are missing and grant them their rights on an installed schema.

    They cannot log in: grant them to login roles of your own. What this role may not do is a line in the result that
    says what somebody else has to run, not an error.
    """
    named, shipped = Schema(schema), sources or load()
    names = {"owner": owner, "executor": executor, "client": client, "reader": reader}
    _check(names)
    with session.connect(url) as conn:
        session.begin(conn)
        with conn.transaction():
            session.lock(conn, named.name, 60)
            found = inventory.take(conn, named)
            inventory.refuse_foreign(found, named)
            if not found.is_engine:
                from pyengine.errors import DBOSInitializationError

                raise DBOSInitializationError(f"schema {schema!r} is not installed; run `pyengine migrate` first")
            work = _Work(conn)
            for kind, role in names.items():
                _make_role(work, kind, role)
            present = {kind: role if _exists(conn, role) else None for kind, role in names.items()}
            _own(work, named, present["owner"])
            _grant(work, named, shipped, present)
            return work.lines


class _Work:
    """Runs statements, each in a savepoint; a missing right becomes a line."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn
        self.lines: list[str] = []

    def run(self, statement: sql.SQL | sql.Composed, done: str | None, *, instead: str | None = None) -> bool:
        try:
            with self.conn.transaction():
                self.conn.execute(statement)
        except psycopg.errors.InsufficientPrivilege as exc:
            reason = exc.diag.message_primary or "permission denied"
            ask = instead or f"have a superuser run: {statement.as_string(self.conn)}"
            self.lines.append(f"not done ({reason}): {ask}")
            return False
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            # Another database of this cluster made the role at the same moment.
            return True
        if done:
            self.lines.append(done)
        return True


def _check(names: dict[str, str]) -> None:
    for kind, role in names.items():
        if not role.strip() or role.lower().startswith("pg_") or role.lower() in ("public", "none"):
            raise ValueError(f"the name of the {kind} role, {role!r}, is not allowed")
        if len(role.encode()) > 63:
            raise ValueError(f"the name of the {kind} role, {role!r}, is longer than 63 bytes")
    if len(set(names.values())) < len(names):
        raise ValueError(f"the four roles need four names, not {', '.join(names.values())}")


def _exists(conn: psycopg.Connection[Any], role: str) -> bool:
    return conn.execute("select from pg_catalog.pg_roles where rolname = %s", (role,)).fetchone() is not None


def _make_role(work: _Work, kind: str, role: str) -> None:
    if _exists(work.conn, role):
        work.lines.append(f"role {role!r} exists ({kind}: {_PURPOSE[kind]})")
        return
    statement = sql.SQL("create role {} nologin").format(sql.Identifier(role))
    work.run(statement, f"created role {role!r} ({kind}: {_PURPOSE[kind]})")


def _own(work: _Work, schema: Schema, owner: str | None) -> None:
    """Hand the schema over to the owner role, so that every member of it can migrate."""
    if owner is None:
        return
    row = work.conn.execute(
        """
        select pg_get_userbyid(n.nspowner)::text = %(owner)s
               and not exists (
                 select from pg_catalog.pg_class as r
                  where r.relnamespace = n.oid and pg_get_userbyid(r.relowner)::text <> %(owner)s
               ),
               pg_get_userbyid(c.relowner)::text,
               array(
                 select distinct r.role
                   from (values (pg_get_userbyid(c.relowner)::text), (current_user::text)) as r (role)
                  where not (pg_has_role(r.role, %(owner)s, 'usage') and pg_has_role(r.role, %(owner)s, %(set)s))
               )
          from pg_catalog.pg_namespace as n
          join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = 'engine'
         where n.nspname = %(schema)s
        """,
        {"owner": owner, "schema": schema.name, "set": inventory.set_role_privilege(work.conn)},
    ).fetchone()
    assert row is not None
    is_owner, before, outsiders = row
    if is_owner:
        return
    for role in outsiders:
        # The owner until now keeps its rights; and who gives a thing away must be able to act as its receiver.
        member = sql.SQL("grant {} to {}").format(sql.Identifier(owner), sql.Identifier(role))
        if not work.run(member, f"made {role!r} a member of {owner!r}"):
            return
    instead = (
        f"the schema stays with {before!r}; have a superuser run `pyengine migrate --roles` to hand it to {owner!r}"
    )
    work.run(_hand_over(schema, owner), f"handed the schema over to {owner!r}", instead=instead)


def _hand_over(schema: Schema, owner: str) -> sql.Composed:
    # One statement, all or nothing: objects of two owners could be migrated by neither. The schema goes last: until
    # then its owner may let the new one create in it, which taking over a table requires.
    body = """
do $hand_over$
declare
  v_namespace oid := {quoted}::regnamespace;
  v_statement text;
begin
  execute format('grant usage, create on schema %s to %I', v_namespace::regnamespace, {owner});
  for v_statement in
    select format(
      'alter %s %s owner to %I',
      case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, c.oid::regclass, {owner}
    )
    from pg_catalog.pg_class as c
    where c.relnamespace = v_namespace
      and c.relkind in ('r', 'p', 'v', 'S')
      -- An identity column's sequence goes with its table.
      and not exists (
        select from pg_catalog.pg_depend as d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i') and c.relkind = 'S'
      )
    union all
    select format('alter function %s owner to %I', p.oid::regprocedure, {owner})
    from pg_catalog.pg_proc as p
    where p.pronamespace = v_namespace
  loop
    execute v_statement;
  end loop;
  execute format('alter schema %s owner to %I', v_namespace::regnamespace, {owner});
end;
$hand_over$"""
    return sql.SQL(body).format(quoted=sql.Literal(schema.quoted), owner=sql.Literal(owner))


def _grant(work: _Work, schema: Schema, sources: Sources, present: dict[str, str | None]) -> None:
    columns = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(f"{kind}_role"), sql.Literal(role)) for kind, role in present.items()
    )
    record = sql.SQL("update {}.engine set {}").format(sql.Identifier(schema.name), columns)
    if not work.run(record, None, instead="run `pyengine migrate --roles` as the owner of the schema"):
        return
    work.conn.execute("set local search_path = pg_catalog, pg_temp")
    granted = ", ".join(repr(role) for kind, role in present.items() if role is not None and kind != "owner")
    work.run(
        sql.SQL(_text(schema, sources)),
        f"granted their rights to {granted}" if granted else None,
        instead="run `pyengine migrate --roles` as the owner of the schema",
    )


def _text(schema: Schema, sources: Sources) -> Any:
    # sql.SQL takes literals only, for mypy; this text is ours, from the package.
    return schema.rewrite(sources.grants)
