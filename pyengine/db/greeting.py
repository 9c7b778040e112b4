"""The first words with a server: which one is it, may it be written to, is a pooler in between."""

from __future__ import annotations

from typing import Any

import psycopg

from . import calls
from .connection import Connection
from .rows import Greeting
from .wire import call

# A server that accepts connections and then says nothing must not hold its caller for ever.
_SECONDS = 10.0


class StandbyRefused(psycopg.OperationalError):
    """The server takes no writes: a standby, or a primary on its way."""


def connect(url: str, schema: str, *, is_pooled: bool | None = None, **settings: Any) -> Connection:
    """A connection that may be used. `is_pooled`: what the configuration says; None: find out.

    Raises psycopg.OperationalError when there is none to be had.
    """
    connection = Connection.open(url, **({"prepare_threshold": None} if is_pooled else {}), **settings)
    try:
        connection.limit(_SECONDS)
        (row,) = call(connection, calls.greet, schema, [])
        greeting = Greeting._make(row)
        if greeting.is_standby:
            raise StandbyRefused("the server is a standby that takes no writes")
        connection.server_identity = greeting.server_identity
        # A pooler hands out process ids of its own making.
        if greeting.backend_pid != connection.info.backend_pid if is_pooled is None else is_pooled:
            connection.share()
        connection.limit(None)
    except BaseException:
        connection.close()
        raise
    return connection
