"""May this engine run on that schema? A schema says its version and the oldest engine protocol it still serves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from pyengine._version import PROTOCOL
from pyengine.schema import session
from pyengine.schema.names import DEFAULT_SCHEMA, Schema
from pyengine.schema.sources import Sources, load

# What the shipped functions still serve. Raised when a function that an older engine calls is dropped.
OLDEST_PROTOCOL = 1

MIGRATE_COMMAND = "pyengine migrate"

State = Literal["absent", "older", "current", "newer", "unserved"]


@dataclass(frozen=True)
class Verdict:
    """`absent` and `older` must be migrated; `current` and `newer` are served; `unserved`: claim nothing and end."""

    state: State
    schema: str
    schema_version: int | None
    oldest_protocol: int | None
    message: str

    @property
    def served(self) -> bool:
        return self.state in ("current", "newer")

    @property
    def must_migrate(self) -> bool:
        return self.state in ("absent", "older")


@dataclass(frozen=True)
class EngineRow:
    schema_version: int
    oldest_protocol: int
    release: str
    digest: str
    views_checksum: str | None
    created_database: bool


def read_engine(conn: psycopg.Connection[Any], schema: Schema) -> EngineRow | None:
    """The bookkeeping row: the one query that a launch on an installed schema costs. None: not installed."""
    query = (
        "select schema_version, oldest_protocol, release, digest, views_checksum, created_database"
        f" from {schema.quoted}.engine"
    )
    try:
        row = conn.execute(query.encode()).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedColumn):
        return None
    return None if row is None else EngineRow(*row)


def judge(
    target: str | psycopg.Connection[Any],
    schema: str = DEFAULT_SCHEMA,
    protocol: int = PROTOCOL,
    *,
    sources: Sources | None = None,
    release: str | None = None,
) -> Verdict:
    """Judge a schema for an engine that speaks `protocol`. `target` is a URL or an open autocommit connection."""
    if isinstance(target, str):
        with session.connect(target) as conn:
            return judge(conn, schema, protocol, sources=sources, release=release)
    return judge_row(read_engine(target, Schema(schema)), schema, protocol, sources or load(), release)


def judge_row(
    row: EngineRow | None, schema: str, protocol: int, sources: Sources, release: str | None = None
) -> Verdict:
    def verdict(state: State, message: str) -> Verdict:
        if row is None:
            return Verdict(state, schema, None, None, message)
        return Verdict(state, schema, row.schema_version, row.oldest_protocol, message)

    if row is None:
        return verdict("absent", f"schema {schema!r} is not installed; run `{MIGRATE_COMMAND}`")
    if row.oldest_protocol > protocol:
        return verdict(
            "unserved",
            f"schema {schema!r} (version {row.schema_version}, release {row.release}) serves engine protocols from "
            f"{row.oldest_protocol} on, this engine speaks {protocol}: install a newer pyengine here",
        )
    if row.schema_version < sources.version:
        return verdict(
            "older",
            f"schema {schema!r} has version {row.schema_version}, this engine needs {sources.version}; "
            f"run `{MIGRATE_COMMAND}`",
        )
    if row.digest == sources.digest:
        return verdict("current", f"schema {schema!r} is current (version {row.schema_version})")
    if is_newer(row, sources, release):
        return verdict(
            "newer",
            f"schema {schema!r} (version {row.schema_version}, release {row.release}) is newer than this engine "
            f"and still serves it",
        )
    return verdict(
        "older",
        f"functions in schema {schema!r} (release {row.release}) differ from this engine's; run `{MIGRATE_COMMAND}`",
    )


def is_newer(row: EngineRow, sources: Sources, release: str | None = None) -> bool:
    """An older engine must not put its functions back over those of a newer release."""
    if row.schema_version != sources.version:
        return row.schema_version > sources.version
    return release_key(row.release) > release_key(release or session.RELEASE)


def release_key(release: str) -> tuple[tuple[int, ...], int, int]:
    """Order of release names as far as it matters here: 0.9.dev1 < 0.9a1 < 0.9rc1 < 0.9 < 0.10."""
    match = re.match(r"(\d+(?:\.\d+)*)[.-]?([a-z]*)(\d*)", release)
    if match is None:
        return (), 0, 0
    numbers = [int(part) for part in match.group(1).split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rank = {"dev": -4, "a": -3, "b": -2, "rc": -1}.get(match.group(2), 0)
    return tuple(numbers), rank, int(match.group(3) or 0) if rank else 0
