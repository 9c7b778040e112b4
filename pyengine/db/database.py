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
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from ..errors import ExecutorStopping
from .connection import Connection, settings
from .function import Function, statement
from .retry import Backoff, OutageLog
from .sqlstate import is_connection_loss, is_race, translate

R = TypeVar("R")


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
        self.revive = revive
        self._outage = OutageLog()
        self._closed = threading.Event()
        self._pid = os.getpid()
        self._pool = self._open_pool()

    def _open_pool(self) -> ConnectionPool[Connection]:
        return ConnectionPool(
            self.url,
            connection_class=Connection,
            kwargs={"autocommit": True, **settings(), **self._prepare},
            min_size=1,
            max_size=self.pool_size,
            timeout=10.0,
            max_idle=120.0,
            reconnect_timeout=2.0,
            num_workers=1,
            open=True,
            name="pyengine",
        )

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

    def _repeat(self, work: Any) -> Any:
        backoff = Backoff()
        while True:
            if self._closed.is_set():
                raise ExecutorStopping("the engine is shutting down")
            try:
                with self._connection() as connection:
                    answer = work(connection)
            except (PoolTimeout, PoolClosed) as error:
                self._outage.lost(error)
            except psycopg.Error as error:
                if is_connection_loss(error):
                    self._outage.lost(error)
                elif not is_race(error):
                    raise translate(error) from error
            else:
                self._outage.found()
                return answer
            self._closed.wait(backoff.next())
            if self._outage.is_out:
                self.revive()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        if os.getpid() != self._pid:
            raise RuntimeError("the engine was launched in another process: call DBOS.launch() after the fork")
        connection = self._pool.getconn()
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    # -- life --------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Let nobody wait for Postgres any longer."""
        self._closed.set()

    def close(self) -> None:
        self.interrupt()
        if os.getpid() == self._pid:
            self._pool.close(timeout=1.0)


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
    return connection.execute(statement(function, schema), values)
