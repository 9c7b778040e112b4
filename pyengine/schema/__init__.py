"""The schema installer: puts pg/ and sql/ into a database, and judges what it finds there."""

from __future__ import annotations

from pyengine.schema.database import ensure_database
from pyengine.schema.install import install
from pyengine.schema.names import DEFAULT_SCHEMA, Schema, valid_schema
from pyengine.schema.report import InstallReport
from pyengine.schema.versions import MIGRATE_COMMAND, OLDEST_PROTOCOL, Verdict, judge

__all__ = [
    "DEFAULT_SCHEMA",
    "MIGRATE_COMMAND",
    "OLDEST_PROTOCOL",
    "InstallReport",
    "Schema",
    "Verdict",
    "ensure_database",
    "install",
    "judge",
    "valid_schema",
]
