"""A process' way to Postgres: a small pool of connections, each call one transaction, repeated until an answer is
known.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from ..errors import ExecutorStopping
from ..logs import logger
from .connection import Connection
from .function import Function, statement
from .pool import Pool, PoolClosed
from .retry import Backoff, OutageLog
from .sqlstate import is_connection_loss, is_race, translate

R = TypeVar("R")

# So often in one call: then it is not the connection but the server.
_BREAKS_OF_AN_OUTAGE = 3


class NotConnected(Exception):
    """No connection could be made."""

    def __init__(self, reason: psycopg.Error) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Database:
    """Calls the schema's functions. Safe to use from any thread of the process that opened it.

    Every call is repeatable (see `calls`), so an outage of Postgres blocks the caller and loses nothing: the call
    is repeated until it is answered or `close()` is called, which raises ExecutorStopping in whoever still waits.
    """

    def __init__(
        self,
        url: str,
        schema: str,
        *,
        pool_size: int,
        is_pooled: bool = False,
        revive: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self.schema = schema
        self.pool_size = pool_size
        # Through a transaction pooler a prepared statement may live on another server connection than the next call.
        self.is_pooled = is_pooled
        self._prepare = {"prepare_threshold": None} if is_pooled else {}
        self.outage = OutageLog()
        self._revive = revive
        self._closed = threading.Event()
        self._pid = os.getpid()
        self._pool = Pool(lambda: Connection.open(url, **self._prepare), pool_size)

    # -- calling -----------------------------------------------------------------------------------

    def one(self, function: Function[R], **arguments: Any) -> R:
        """Call a function that returns exactly one row (or a scalar)."""
        values = function.bind(arguments)
        with_row = self._repeat(lambda connection: run(connection, function, self.schema, values).fetchone())
        assert with_row is not None, f"{function.name}() returned no row"
        return function.build(with_row)

    def all(self, function: Function[R], **arguments: Any) -> list[R]:
        """Call a function that returns a set of rows."""
        values = function.bind(arguments)
        rows = self._repeat(lambda connection: run(connection, function, self.schema, values).fetchall())
        return [function.build(row) for row in rows]

    def _repeat(self, work: Callable[[Connection], R]) -> R:
        backoff = Backoff()
        breaks = 0
        while not self._closed.is_set():
            try:
                with self._connection() as connection:
                    answer = work(connection)
            except PoolClosed:
                break
            except NotConnected as error:
                self.outage.lost(error.reason)
                self.revive()
            except psycopg.Error as error:
                if is_connection_loss(error):
                    # One that broke while it was idle is no outage: a new one is tried at once.
                    self._pool.forget_idle()
                    breaks += 1
                    if breaks < _BREAKS_OF_AN_OUTAGE:
                        continue
                    self.outage.lost(error)
                elif not is_race(error):
                    raise translate(error) from error
            else:
                self.outage.found()
                return answer
            self._closed.wait(backoff.next())
        raise ExecutorStopping("the engine is shutting down")

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        if os.getpid() != self._pid:
            raise RuntimeError("the engine was launched in another process: call DBOS.launch() after the fork")
        try:
            connection = self._pool.take()
        except psycopg.OperationalError as error:
            raise NotConnected(error) from error
        try:
            yield connection
        finally:
            self._pool.give(connection)

    def revive(self) -> None:
        """Start the server again if it is ours to start."""
        try:
            self._revive()
        except Exception as error:
            logger.debug("The server could not be brought back: %s", error)

    # -- life --------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Let nobody wait for Postgres any longer."""
        self._closed.set()
        self._pool.close()

    def close(self) -> None:
        if os.getpid() == self._pid:
            self.interrupt()


class Session:
    """One connection of its own, for what must stay on the same one: the beat, which holds the liveness lock."""

    def __init__(self, url: str, schema: str, *, is_pooled: bool = False, **settings: Any) -> None:
        self.schema = schema
        self.connection = Connection.open(url, **({"prepare_threshold": None} if is_pooled else {}), **settings)

    def one(self, function: Function[R], **arguments: Any) -> R:
        row = self._run(function, arguments).fetchone()
        assert row is not None, f"{function.name}() returned no row"
        return function.build(row)

    def all(self, function: Function[R], **arguments: Any) -> list[R]:
        return [function.build(row) for row in self._run(function, arguments).fetchall()]

    def _run(self, function: Function[Any], arguments: dict[str, Any]) -> psycopg.Cursor[Any]:
        self.connection.check_process()
        try:
            return run(self.connection, function, self.schema, function.bind(arguments))
        except psycopg.Error as error:
            translated = translate(error)
            if translated is error:
                raise
            raise translated from error

    def close(self) -> None:
        self.connection.close()


def run(connection: Connection, function: Function[Any], schema: str, values: list[Any]) -> psycopg.Cursor[Any]:
    return connection.execute(statement(function, schema), values, binary=True)
