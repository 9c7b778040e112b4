"""The schema installer: puts pg/ and sql/ into a database, and judges what it finds there.

A launching process calls `prepare`; the command line calls the others.
"""

from __future__ import annotations

from pyengine.schema.check import CheckReport, check
from pyengine.schema.database import ensure_database
from pyengine.schema.explain import explain
from pyengine.schema.install import install
from pyengine.schema.names import DEFAULT_SCHEMA, Schema, valid_schema
from pyengine.schema.prepare import Prepared, prepare
from pyengine.schema.render import render
from pyengine.schema.report import InstallReport
from pyengine.schema.reset import reset
from pyengine.schema.roles import make_roles
from pyengine.schema.versions import MIGRATE_COMMAND, OLDEST_PROTOCOL, Verdict, judge

__all__ = [
    "DEFAULT_SCHEMA",
    "MIGRATE_COMMAND",
    "OLDEST_PROTOCOL",
    "CheckReport",
    "InstallReport",
    "Prepared",
    "Schema",
    "Verdict",
    "check",
    "ensure_database",
    "explain",
    "install",
    "judge",
    "make_roles",
    "prepare",
    "render",
    "reset",
    "valid_schema",
]
