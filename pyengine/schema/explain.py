"""One line for a person whose database cannot be reached or does not let the engine in."""

from __future__ import annotations

import psycopg

from pyengine.schema.versions import MIGRATE_COMMAND

_AUTHENTICATION = ("28P01", "28000")


def explain(exc: BaseException, url: str) -> str:
    """What happened, at which URL (without its password), and what to do."""
    where = redact(url)
    said = _first_line(exc, url)
    state = getattr(exc, "sqlstate", None)
    if isinstance(exc, psycopg.errors.ReadOnlySqlTransaction):
        return f"the database at {where} is read-only (a standby?): give the URL of the primary ({said})"
    if isinstance(exc, psycopg.errors.LockNotAvailable):
        return (
            f"the schema at {where} could not be changed: something held a lock for too long; end long transactions "
            f"and run `{MIGRATE_COMMAND}` again ({said})"
        )
    if isinstance(exc, psycopg.errors.InsufficientPrivilege):
        return (
            f"the role has no right to do this at {where}: {said}; run `{MIGRATE_COMMAND}` as the owner of the schema"
        )
    if isinstance(exc, psycopg.errors.DependentObjectsStillExist):
        return f"something of yours depends on the engine's objects at {where}: {said}; drop it and migrate again"
    if state in _AUTHENTICATION or "password" in said:
        return f"the database at {where} refused the login: {said}; check user and password in the URL"
    if isinstance(exc, psycopg.OperationalError) and (state is None or state.startswith(("08", "57P"))):
        return f"no database reachable at {where}: {said}; start Postgres there, or correct the URL"
    if isinstance(exc, psycopg.ProgrammingError) and state is None:
        return f"the database URL {where} is not valid: {said}"
    return f"database error at {where}: {said}"


def redact(url: str) -> str:
    try:
        from pyengine.config.urls import redact as redact_url
    except ImportError:
        return "(URL hidden)"
    return redact_url(url)


def _first_line(exc: BaseException, url: str) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    said = lines[0] if lines else type(exc).__name__
    # A malformed URL is quoted back by libpq, with the password in it.
    return said.replace(url, redact(url)) if url else said
