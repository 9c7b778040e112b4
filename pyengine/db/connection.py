"""Connections: how the engine opens them, and a guard against using one in another process than its own."""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg.rows import TupleRow, tuple_row

# A dead network shows within seconds and not after the kernel's two hours.
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class ForkedConnectionError(RuntimeError):
    """A connection was used in another process than the one that opened it: two processes would mix their replies."""


class Connection(psycopg.Connection[TupleRow]):
    """An autocommit connection that refuses to work in a forked child."""

    opened_in: int = 0

    @classmethod
    def open(cls, url: str, **overrides: Any) -> Connection:
        connection = cls.connect(url, autocommit=True, row_factory=tuple_row, **{**settings(), **overrides})
        connection.opened_in = os.getpid()
        return connection

    def check_process(self) -> None:
        if self.opened_in not in (0, os.getpid()):
            raise ForkedConnectionError(
                f"this connection belongs to process {self.opened_in}, not {os.getpid()}: open a new one after a fork"
            )

    def __del__(self, *arguments: Any, **keywords: Any) -> None:
        # A child must not say goodbye to the server on its parent's socket, nor be warned of a connection it
        # never opened.
        if self.opened_in in (0, os.getpid()):
            super().__del__(*arguments, **keywords)


def settings() -> dict[str, Any]:
    return {**_KEEPALIVE, "application_name": "pyengine"}
