"""From SQLSTATE to exception, and what may be retried. The one mapping; sql/errors.toml is the list it follows."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from .._version import PROTOCOL
from ..errors import DBOSException, DBOSProtocolNotServedError, ExecutorFenced

# The connection or the server went away, or the server is not (yet) one that takes writes, or has no room for them: the
# call may be repeated, here or elsewhere.
_CONNECTION_STATES = frozenset({"57P01", "57P02", "57P03", "57P05", "25006", "53100", "53300"})
# The statement lost a race inside Postgres: it may be repeated at once.
_RACE_STATES = frozenset({"40001", "40P01", "55P03"})
# Every code of errors.toml. What nobody waits for is the base class with the schema's own words.
_EXCEPTIONS: dict[str, Callable[[str], BaseException]] = {
    "WF001": ExecutorFenced,
    "WF004": DBOSException,
    "WF005": DBOSException,
    "WF006": lambda _: DBOSProtocolNotServedError(PROTOCOL),
    "WF101": DBOSException,
    "WF901": DBOSException,
}


def is_connection_loss(error: psycopg.Error) -> bool:
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith("08") or state in _CONNECTION_STATES


def is_race(error: psycopg.Error) -> bool:
    return error.sqlstate in _RACE_STATES


def translate(error: psycopg.Error) -> BaseException:
    """The engine's exception for an error the schema raised; any other error comes back as it is."""
    state = error.sqlstate
    if state is None or not state.startswith("WF"):
        return error
    text = error.diag.message_primary or str(error)
    detail, hint = error.diag.message_detail, error.diag.message_hint
    message = ". ".join(part for part in (text, detail, hint) if part)
    return _EXCEPTIONS.get(state, DBOSException)(message)
