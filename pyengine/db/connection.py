"""Connections: how the engine opens them, what it learns of the server behind them, and the guards they carry.

A connection refuses to work in another process than its own, can be cut by another thread or limited in time (a server
that hangs answers nothing, ever), and remembers when the server said that a commit may not have reached its standby.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import conninfo, generators, waiting
from psycopg.errors import Diagnostic
from psycopg.pq import ExecStatus
from psycopg.rows import TupleRow, tuple_row

from ..logs import logger
from .eagerness import Eagerness

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from .function import Function
    from .wire import Plan

R = TypeVar("R")

# A dead network shows within seconds and not after the kernel's two hours.
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_POLL_SECONDS = 0.1
# The function of the server's source that gives a wait up: its message comes in the server's language.
_STANDBY_WAIT = "SyncRepWaitForLSN"


class ForkedConnectionError(RuntimeError):
    """A connection was used in another process than the one that opened it: two processes would mix their replies."""


class Connection(psycopg.Connection[TupleRow]):
    """An autocommit connection."""

    opened_in: int = 0
    # A transaction pooler is in between.
    is_pooled: bool = False
    # Which line of history the server writes; None: not asked.
    server_identity: str | None = None
    # No call was made on it yet.
    is_fresh: bool = True
    # The wait for the standby was given up: what was committed last may be gone after a failover.
    is_unconfirmed: bool = False
    # How it calls each function; whether bounded.
    plans: dict[tuple[Function[Any], bool], Plan]
    _deadline: float | None = None
    _poll: select.poll | None = None
    _eagerness: Eagerness

    @classmethod
    def open(cls, url: str, **overrides: Any) -> Connection:
        connection = cls.connect(url, autocommit=True, row_factory=tuple_row, **settings(url, **overrides))
        connection.opened_in = os.getpid()
        connection.plans = {}
        connection._eagerness = Eagerness()
        if hasattr(select, "poll"):
            connection._poll = select.poll()
            connection._poll.register(connection.pgconn.socket, select.POLLIN)
        connection.add_notice_handler(connection._heed_notice)
        return connection

    def limit(self, seconds: float | None) -> None:
        """From here on, all calls together have so long; None: as long as they take."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def check_process(self) -> None:
        if self.opened_in not in (0, os.getpid()):
            raise ForkedConnectionError(
                f"this connection belongs to process {self.opened_in}, not {os.getpid()}: open a new one after a fork"
            )

    def share(self) -> None:
        """Each transaction may run in another session: a prepared statement may live in another one than the next
        call.
        """
        self.is_pooled = True
        self.prepare_threshold = None

    def cut(self) -> None:
        """End the link, from any thread: whoever waits on it for an answer gets an error now."""
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.fileno())) as link,
        ):
            link.shutdown(socket.SHUT_RDWR)

    def wait(self, gen: Generator[Any, Any, R], interval: float = _POLL_SECONDS, *arguments: Any, **keywords: Any) -> R:
        """As psycopg waits, within the connection's time. Ctrl-C drops the connection instead of asking the server to
        cancel and waiting for its answer: every call may be repeated, and a hung server answers nothing.
        """
        try:
            if self._deadline is None:
                return waiting.wait(gen, self.pgconn.socket, interval, *arguments, **keywords)
            return waiting.wait_selector(_until(gen, self._deadline), self.pgconn.socket, interval)
        except KeyboardInterrupt:
            self.pgconn.finish()
            raise

    def answer(self, *, eagerly: bool = False) -> PGresult:
        """The last result of what was sent. Most answers come whole, in one packet: then without the generators that
        psycopg waits with, which take longer than anything else a call does here. `eagerly`: see there.
        """
        pgconn = self.pgconn
        results: list[PGresult] = []
        if self._poll is not None and self._deadline is None and pgconn.flush() == 0:
            try:
                if not (eagerly and self._eagerness.sees(self._poll)):
                    while not self._poll.poll(_POLL_SECONDS * 1000):
                        continue
            except KeyboardInterrupt:
                pgconn.finish()
                raise
            if eagerly:
                self._eagerness.answered()
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    return results[-1]
                results.append(result)
        # Large, either way, or limited in time.
        try:
            results += self.wait(generators.execute(pgconn))
        except psycopg.DatabaseError:
            # An error is final without the server's last word. Anything else is not: it may not be committed.
            if not results or results[-1].status != ExecStatus.FATAL_ERROR:
                raise
        return results[-1]

    def _heed_notice(self, notice: Diagnostic) -> None:
        if notice.source_function == _STANDBY_WAIT:
            self.is_unconfirmed = True
        logger.debug("Postgres: %s", notice.message_primary)

    def __del__(self, *arguments: Any, **keywords: Any) -> None:
        # A child must not say goodbye to the server on its parent's socket, nor be warned of a connection it
        # never opened.
        if self.opened_in in (0, os.getpid()):
            super().__del__(*arguments, **keywords)


def _until(gen: Generator[Any, Any, R], deadline: float) -> Generator[Any, Any, R]:
    """The same conversation with the server, broken off at the deadline."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise psycopg.OperationalError("the server did not answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def settings(url: str, **overrides: Any) -> dict[str, Any]:
    """The engine's own, where the URL says nothing else."""
    given = conninfo.conninfo_to_dict(url)
    wanted = {**_PATIENCE, "application_name": "pyengine"}
    # Whatever the database's own encoding: parameters are sent, and rows are read, as UTF-8.
    forced = {"client_encoding": "UTF8"}
    return {**{name: value for name, value in wanted.items() if name not in given}, **forced, **overrides}
