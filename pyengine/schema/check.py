"""What an install would do, without doing it: `pyengine migrate --check`, and launches that may not migrate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from pyengine._version import PROTOCOL
from pyengine.schema import inventory, session
from pyengine.schema.names import DEFAULT_SCHEMA, Schema
from pyengine.schema.report import changed_migration
from pyengine.schema.sources import Sources, checksum, load
from pyengine.schema.versions import MIGRATE_COMMAND, EngineRow, Verdict, judge_row, read_engine


@dataclass(frozen=True)
class CheckReport:
    verdict: Verdict
    pending: tuple[str, ...]
    warnings: tuple[str, ...]
    may_migrate: bool
    role: str
    owner: str | None

    @property
    def current(self) -> bool:
        return not self.pending

    def lines(self) -> list[str]:
        """For people; the first line is the judgement."""
        lines = [self.verdict.message, *self.pending]
        if self.pending and not self.may_migrate:
            owner = f"; its owner is {self.owner!r}" if self.owner else ""
            lines.append(f"role {self.role!r} may not migrate this schema{owner}")
        return lines + [f"warning: {warning}" for warning in self.warnings]

    def raise_if_pending(self) -> None:
        from pyengine.errors import DBOSInitializationError

        if self.verdict.must_migrate:
            raise DBOSInitializationError(cannot_run(self.verdict, self.role, self.owner, self.may_migrate))


def cannot_run(verdict: Verdict, role: str, owner: str | None, may_migrate: bool) -> str:
    """One line for a process that found a schema it cannot use and is not to change."""
    if may_migrate:
        return verdict.message
    return f"{verdict.message} as {f'role {owner!r}' if owner else 'its owner'} (role {role!r} may not)"


def check(
    url: str,
    schema: str = DEFAULT_SCHEMA,
    *,
    protocol: int = PROTOCOL,
    sources: Sources | None = None,
    release: str | None = None,
) -> CheckReport:
    with session.connect(url) as conn:
        return check_on(conn, Schema(schema), protocol, sources or load(), release or session.RELEASE)


def check_on(
    conn: psycopg.Connection[Any], schema: Schema, protocol: int, sources: Sources, release: str
) -> CheckReport:
    found = inventory.take(conn, schema)
    inventory.refuse_foreign(found, schema)
    row = read_engine(conn, schema) if found.is_engine else None
    verdict = judge_row(row, schema.name, protocol, sources, release)
    pending, warnings = [], []
    if verdict.must_migrate:
        pending = _pending(conn, schema, sources, row)
    if row is not None and row.schema_version <= sources.version:
        applied = inventory.applied_migrations(conn, schema)
        warnings = [
            changed_migration(migration.label)
            for migration in sources.migrations
            if applied.get(migration.version, migration.checksum) != migration.checksum
        ]
    return CheckReport(verdict, tuple(pending), tuple(warnings), found.may_migrate, found.role, found.owner)


def _pending(conn: psycopg.Connection[Any], schema: Schema, sources: Sources, row: EngineRow | None) -> list[str]:
    applied = inventory.applied_migrations(conn, schema) if row else {}
    recorded = inventory.recorded_functions(conn, schema) if row else {}
    pending = [f"migration {m.label} is to be applied" for m in sources.migrations if m.version not in applied]
    shipped = {function.name: function.checksum for function in sources.functions}
    for what, names in (
        ("created", [name for name in shipped if name not in recorded]),
        ("replaced", [n for n, c in shipped.items() if n in recorded and recorded[n].checksum != c]),
        ("dropped", sorted(set(recorded) - set(shipped))),
    ):
        if names:
            pending.append(f"{len(names)} function(s) to be {what}: {', '.join(names)}")
    if sources.views and (row is None or row.views_checksum != checksum(sources.views)):
        pending.append("views to be created")
    return pending or [f"bookkeeping is to be brought up to date; run `{MIGRATE_COMMAND}`"]
