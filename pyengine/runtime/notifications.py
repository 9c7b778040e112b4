"""News of work between processes: told after the commit, heard by whoever listens. Only ever a hint: what is lost or
never told is found by the tick.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable

import psycopg

from ..db import calls
from ..db.connection import Connection
from ..db.database import Database
from ..errors import ExecutorStopping
from ..logs import logger

# In the place of a queue's name: there may be work on any.
ANY_QUEUE = ""
# A queue is told of at once, and then no oftener than this: notifications of the whole server stand in one line.
_QUIET_SECONDS = 0.01


class Voice:
    """Tells other processes of work that this one has committed, or of a slot that it freed."""

    def __init__(self, database: Database, application: str) -> None:
        self._database = database
        self._application = application
        self._news = threading.Condition(threading.Lock())
        self._queues: set[str] = set()
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def tell(self, queue: str) -> None:
        with self._news:
            if queue in self._queues or self._is_stopped:
                return
            self._queues.add(queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="pyengine-notifier", daemon=True)
                self._thread.start()
            self._news.notify()

    def stop(self) -> None:
        with self._news:
            self._is_stopped = True
            self._news.notify()

    def _loop(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._queues or self._is_stopped)
                if self._is_stopped:
                    return
                queues, self._queues = sorted(self._queues), set()
            try:
                self._database.one(calls.notify_queues, application=self._application, queues=queues)
            except ExecutorStopping:
                return
            except Exception as error:
                logger.debug("Other processes were not told of work on %s: %s", queues, error)
            time.sleep(_QUIET_SECONDS)


class Ear:
    """What a thread with a connection of its own listens to between two calls: notifications, and `wake`."""

    def __init__(self, on_queue: Callable[[str], None]) -> None:
        self._on_queue = on_queue
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self._reader, False)

    def open(self, connection: Connection) -> None:
        """Hear what arrives on this connection, also while it makes a call."""
        connection.add_notify_handler(lambda notify: self._on_queue(notify.payload))

    def wake(self) -> None:
        """End the wait that is under way, or the next one. Safe in a signal handler."""
        try:
            os.write(self._writer, b"!")
        except OSError:
            return  # full: it is awake

    def wait(self, connection: Connection | None, seconds: float) -> None:
        """Until woken, at most so long. Notifications that arrive meanwhile are heard and do not end it. Raises
        psycopg.OperationalError when the connection breaks.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ready = self._ready(connection, left)
            if self._reader in ready:
                self._drain()
                return
            if ready and connection is not None:
                self._hear(connection)

    def __del__(self) -> None:
        # Not sooner: whoever still wakes it would write into what has got the number since.
        for end in (self._reader, self._writer):
            os.close(end)

    def _ready(self, connection: Connection | None, seconds: float) -> Iterable[int]:
        sources = select.poll()
        sources.register(self._reader, select.POLLIN)
        if connection is not None:
            sources.register(connection.fileno(), select.POLLIN)
        return [source for source, _ in sources.poll(seconds * 1000)]

    def _hear(self, connection: Connection) -> None:
        connection.pgconn.consume_input()
        heard = set()
        while (notify := connection.pgconn.notifies()) is not None:
            heard.add(notify.extra.decode(errors="replace"))
        for queue in heard:
            self._on_queue(queue)
        if connection.pgconn.status != psycopg.pq.ConnStatus.OK:
            raise psycopg.OperationalError("the connection was lost")

    def _drain(self) -> None:
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            return
