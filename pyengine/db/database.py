"""A process' way to Postgres: a small pool of connections, each call one transaction, repeated until an answer is
known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import psycopg

from ..errors import ExecutorFenced, ExecutorStopping
from ..logs import logger
from ..machine import process_id
from . import calls, greeting
from .connection import Connection
from .function import Function, settings_text
from .pool import Pool, PoolClosed
from .retry import Backoff, OutageLog
from .sqlstate import is_connection_loss, is_race, translate
from .wire import call

R = TypeVar("R")

# So often in one call: then it is not the connection but the server.
_BREAKS_OF_AN_OUTAGE = 3


class NotConnected(Exception):
    """No connection could be made."""

    def __init__(self, reason: psycopg.Error) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Contended(Exception):
    """Somebody's open transaction was in the way, or another race was lost: the call may be repeated."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where an executor registered: its calls are right on that server only, and on no line of history but that one."""

    nonce: int
    server_identity: str
    is_pooled: bool

    def fits(self, connection: Connection) -> bool:
        return connection.server_identity == self.server_identity and connection.is_pooled <= self.is_pooled


class Gate(Protocol):
    """What every call that an executor makes as itself goes through."""

    def __call__(self, function: Function[Any]) -> AbstractContextManager[None]: ...


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
        is_pooled: bool | None = None,
        revive: Callable[[], None] = lambda: None,
    ) -> None:
        """`is_pooled`: whether a transaction pooler is in between; None: that is found out."""
        self.url = url
        self.schema = schema
        self.pool_size = pool_size
        self.outage = OutageLog()
        self.is_pooled = is_pooled
        self.gate: Gate | None = None
        self._home: Home | None = None
        self._revive = revive
        self._closed = threading.Event()
        self._pid = process_id()
        self._pool = Pool(self._connect, pool_size)

    def connect(self, **settings: Any) -> Connection:
        """A connection of the caller's own."""
        connection = greeting.connect(self.url, self.schema, is_pooled=self.is_pooled, **settings)
        if connection.is_pooled:
            self.is_pooled = True
        return connection

    def _connect(self) -> Connection:
        """A connection for the pool, with the settings that calls go under."""
        connection = self.connect()
        if not connection.is_pooled:
            connection.execute(f"select {settings_text(is_local=False)}".encode())
        return connection

    def has_backend(self, pid: int) -> bool:
        """Whether one of the connections for calls leads to this process of the server."""
        return self._pool.has_backend(pid)

    def find_pooler(self) -> bool:
        """Whether a transaction pooler is in between."""
        return self._repeat(lambda connection: connection.is_pooled) or bool(self.is_pooled)

    def settle(self, home: Home) -> None:
        """From here on this executor's calls go to the server it registered on, and those of its former incarnations
        nowhere.
        """
        moved, self._home = self._home is not None and self._home.server_identity != home.server_identity, home
        if moved:
            self._pool.forget_idle()

    # -- calling -----------------------------------------------------------------------------------

    def one(self, function: Function[R], **arguments: Any) -> R:
        """Call a function that returns exactly one row (or a scalar). While somebody else's transaction is in the way,
        no connection is held most of the time.
        """
        return function.build(self._call(function, arguments)[0])

    def alone(self, function: Function[R], arguments: Mapping[str, Any], *, eagerly: bool) -> R:
        """As `one`. `eagerly`: the answer is looked for before this thread goes to sleep."""
        return function.build(self._call(function, arguments, eagerly=eagerly)[0])

    def attempt(self, function: Function[R], arguments: Mapping[str, Any], *, eagerly: bool = False) -> R:
        """As `one`, but raises Contended when somebody else's transaction is in the way, or another race was lost."""
        return function.build(self._call(function, arguments, until_won=False, eagerly=eagerly)[0])

    def all(self, function: Function[R], **arguments: Any) -> list[R]:
        """Call a function that returns a set of rows."""
        return [function.build(row) for row in self._call(function, arguments)]

    def _call(
        self, function: Function[Any], arguments: Mapping[str, Any], *, until_won: bool = True, eagerly: bool = False
    ) -> list[tuple[Any, ...]]:
        nonce = arguments.get("nonce") if function.is_executors_own else None
        values = function.bind(arguments)

        def work(connection: Connection) -> list[tuple[Any, ...]]:
            return call(connection, function, self.schema, values, is_bounded=connection.is_pooled, eagerly=eagerly)

        if nonce is None or self.gate is None:
            return self._repeat(work, nonce, until_won)
        with self.gate(function):
            return self._repeat(work, nonce, until_won)

    def _repeat(self, work: Callable[[Connection], R], nonce: int | None = None, until_won: bool = True) -> R:
        backoff: Backoff | None = None
        breaks = 0
        while not self._closed.is_set():
            try:
                connection = self._take()
                try:
                    if nonce is not None and not self._is_at_home(nonce, connection):
                        continue
                    answer = work(connection)
                    if connection.is_unconfirmed or breaks:
                        self._confirm(connection)
                finally:
                    connection.is_fresh = False
                    self._pool.give(connection)
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
                elif not until_won:
                    raise Contended(str(error)) from error
            else:
                self.outage.found()
                return answer
            backoff = backoff or Backoff()
            self._closed.wait(backoff.next())
        raise ExecutorStopping("the engine is shutting down")

    def _is_at_home(self, nonce: int, connection: Connection) -> bool:
        """Whether an executor's call may go over this connection. False: not over this one, which is from before.

        A promoted standby may lack the last commits, and give their executor ids out again: nothing may be written
        there for who registered elsewhere.
        """
        home = self._home
        if home is None or (nonce == home.nonce and home.fits(connection)):
            return True
        if nonce != home.nonce or connection.is_fresh:
            raise ExecutorFenced(
                f"registered on server {home.server_identity}, connected to {connection.server_identity}"
            )
        connection.close()
        return False

    def _confirm(self, connection: Connection) -> None:
        """Nothing is acknowledged that a synchronous standby may not have.

        A commit whose wait for it was given up stands on this server alone; so may one whose reply was lost. A repeat
        finds its work done, commits nothing and waits for nothing. So this waits. If the server goes away meanwhile,
        the call is repeated as after any lost reply.
        """
        if connection.is_unconfirmed:
            logger.warning("A commit was not confirmed by the standby; waiting for it")
        backoff = Backoff()
        while not self._closed.is_set():
            connection.is_unconfirmed = False
            call(connection, calls.await_standby, self.schema, [])
            if not connection.is_unconfirmed:
                return
            self._closed.wait(backoff.next())
        raise PoolClosed

    def check_process(self) -> None:
        if process_id() != self._pid:
            raise RuntimeError("the engine was launched in another process: call DBOS.launch() after the fork")

    def _take(self) -> Connection:
        self.check_process()
        try:
            return self._pool.take()
        except psycopg.OperationalError as error:
            raise NotConnected(error) from error

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
        if process_id() == self._pid:
            self.interrupt()


class Session:
    """One connection of its own, for what must stay on the same one: the beat, which holds the liveness lock."""

    def __init__(self, connection: Connection, schema: str, *, within_seconds: float | None = None) -> None:
        """`within_seconds`: how long all calls together may take."""
        self.schema = schema
        self.connection = connection
        connection.limit(within_seconds)

    @classmethod
    def open(cls, url: str, schema: str, *, is_pooled: bool | None = None) -> Session:
        return cls(greeting.connect(url, schema, is_pooled=is_pooled), schema)

    def one(self, function: Function[R], **arguments: Any) -> R:
        return function.build(self._run(function, arguments)[0])

    def all(self, function: Function[R], **arguments: Any) -> list[R]:
        return [function.build(row) for row in self._run(function, arguments)]

    def _run(self, function: Function[Any], arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
        self.connection.check_process()
        try:
            return call(self.connection, function, self.schema, function.bind(arguments))
        except psycopg.Error as error:
            translated = translate(error)
            if translated is error:
                raise
            raise translated from error

    def close(self) -> None:
        self.connection.close()
