"""A few connections, each lent for one call.

Not psycopg_pool: it connects on threads of its own, so a caller learns of an outage only by waiting, and its pauses
between tries outlast the outage. Here whoever needs a connection makes it and sees the error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

from .connection import Connection


class PoolClosed(Exception):
    """The pool lends nothing any more."""


class Pool:
    """Lends the connection that came back last, so that a quiet process uses one and the others stay idle."""

    def __init__(self, connect: Callable[[], Connection], size: int) -> None:
        self._connect = connect
        self._size = size
        # Taken as it is: the methods of a condition are Python code, and every call passes here twice. Nobody is
        # notified where nobody waits.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()
        self._open = 0
        self._is_closed = False

    def take(self) -> Connection:
        """Raises psycopg.OperationalError when a new connection is needed and cannot be made."""
        with self._lock:
            while not self._is_closed and not self._idle and self._open >= self._size:
                self._waiting += 1
                try:
                    self._changed.wait()
                finally:
                    self._waiting -= 1
            if self._is_closed:
                raise PoolClosed
            if self._idle:
                return self._lend(self._idle.pop())
            self._open += 1
        try:
            connection = self._connect()
        except BaseException:
            self._left()
            raise
        with self._lock:
            if not self._is_closed:
                return self._lend(connection)
        _close(connection)
        self._left()
        raise PoolClosed

    def _lend(self, connection: Connection) -> Connection:
        self._lent.add(connection)
        return connection

    def give(self, connection: Connection) -> None:
        """Take a connection back; one that is broken, or inside a transaction, is closed instead."""
        pgconn = connection.pgconn
        is_usable = pgconn.status == ConnStatus.OK and pgconn.transaction_status == TransactionStatus.IDLE
        with self._lock:
            self._lent.discard(connection)
            if is_usable and not self._is_closed:
                self._idle.append(connection)
                if self._waiting:
                    self._changed.notify()
                return
        _close(connection)
        self._left()

    def has_backend(self, pid: int) -> bool:
        """Whether one of the connections leads to this process of the server."""
        with self._lock:
            return any(each.pgconn.backend_pid == pid for each in (*self._idle, *self._lent))

    def forget_idle(self) -> None:
        """One connection broke: the others have probably gone with the same server."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._open -= len(idle)
            self._changed.notify(len(idle))
        for connection in idle:
            _close(connection)

    def close(self) -> None:
        """Lend nothing more, and cut what is lent: a server that hangs would keep its borrower for ever."""
        with self._lock:
            self._is_closed = True
            lent = list(self._lent)
            self._changed.notify_all()
        for connection in lent:
            connection.cut()
        self.forget_idle()

    def _left(self) -> None:
        with self._lock:
            self._open -= 1
            self._changed.notify()


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except psycopg.Error:
        return
