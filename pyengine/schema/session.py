"""Connections of the installer: few, short, and with settings that do not depend on the role's defaults."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pyengine._version import __version__

RELEASE = __version__

_CONNECT_TIMEOUT_SECONDS = 10
_OLDEST_SERVER = 140000


def connect(url: str, **overrides: Any) -> psycopg.Connection[Any]:
    """An autocommit connection that works through a transaction-pooling PgBouncer too."""
    given = conninfo_to_dict(url)
    given.update(overrides)
    if "," in str(given.get("host") or ""):
        # Several hosts: schema changes need the primary.
        overrides.setdefault("target_session_attrs", given.get("target_session_attrs") or "read-write")
    overrides.setdefault("connect_timeout", given.get("connect_timeout") or _CONNECT_TIMEOUT_SECONDS)
    overrides.setdefault("fallback_application_name", "pyengine migrate")
    conn = psycopg.connect(url, autocommit=True, prepare_threshold=None, **overrides)
    if conn.info.server_version < _OLDEST_SERVER:
        version = conn.info.parameter_status("server_version")
        conn.close()
        raise _too_old(version)
    return conn


def _too_old(version: str | None) -> Exception:
    from pyengine.errors import DBOSInitializationError

    return DBOSInitializationError(
        f"the server is Postgres {version}; pyengine needs {_OLDEST_SERVER // 10000} or later"
    )


def begin(conn: psycopg.Connection[Any]) -> None:
    """Settings for the transaction that follows: a role's own defaults must not decide whether an install works."""
    conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    conn.read_only = False


def set_local(conn: psycopg.Connection[Any], name: str, value: str) -> None:
    conn.execute("select set_config(%s, %s, true)", (name, value))


def lock(conn: psycopg.Connection[Any], what: str, wait_seconds: float) -> bool:
    """Take the transaction's advisory lock for `what`; True: had to wait. LockNotAvailable: waited too long."""
    key = (f"pyengine.install:{what}",)
    row = conn.execute("select pg_try_advisory_xact_lock(hashtextextended(%s, 0))", key).fetchone()
    if row is not None and row[0]:
        return False
    set_local(conn, "lock_timeout", f"{max(1, round(wait_seconds * 1000))}ms")
    conn.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", key)
    return True
