"""What a launching process does with the schema: look, and install only where that is needed and allowed."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from pyengine._version import PROTOCOL
from pyengine.schema import inventory, session
from pyengine.schema.check import cannot_run
from pyengine.schema.database import ensure_database
from pyengine.schema.install import install_on
from pyengine.schema.names import DEFAULT_SCHEMA, Schema
from pyengine.schema.report import InstallReport
from pyengine.schema.sources import load
from pyengine.schema.versions import Verdict, judge_row, read_engine


@dataclass(frozen=True)
class Prepared:
    verdict: Verdict
    created_database: bool = False
    report: InstallReport | None = None

    def lines(self) -> list[str]:
        """What is worth a log line: nothing on the thousandth launch."""
        lines = ["created the database"] if self.created_database else []
        if self.report is not None and (self.report.changed or self.report.warnings):
            lines += self.report.lines()
        if self.verdict.state in ("newer", "unserved"):
            lines.append(self.verdict.message)
        return lines


def prepare(
    url: str,
    schema: str = DEFAULT_SCHEMA,
    *,
    run_migrations: bool = True,
    protocol: int = PROTOCOL,
    wait_seconds: float = 60.0,
) -> Prepared:
    """Make sure that this engine can run here; one connection and one cheap query when it can.

    A verdict `unserved` is returned, not raised: the caller claims nothing and ends with exit code 3. A schema that
    needs a migration which is switched off, or which this role may not run, raises DBOSInitializationError naming the
    command.
    """
    from pyengine.errors import DBOSInitializationError

    named, sources, created = Schema(schema), load(), False
    try:
        conn = session.connect(url)
    except psycopg.OperationalError:
        # Creating it belongs to migrating: a process that may not do the one does not do the other.
        if not run_migrations:
            raise
        created = ensure_database(url)
        conn = session.connect(url)
    with conn:
        verdict = judge_row(read_engine(conn, named), schema, protocol, sources)
        if not verdict.must_migrate:
            return Prepared(verdict, created)
        found = inventory.take(conn, named)
        inventory.refuse_foreign(found, named)
        if not (run_migrations and found.may_migrate):
            raise DBOSInitializationError(cannot_run(verdict, found.role, found.owner, found.may_migrate))
        report = install_on(conn, named, wait_seconds=wait_seconds, sources=sources, release=session.RELEASE)
        return Prepared(judge_row(read_engine(conn, named), schema, protocol, sources), created, report)
