"""News between processes: told after the commit, heard by whoever listens. Only ever a hint: what is lost or never told
is found by polling.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping

import psycopg

from ..db import calls
from ..db.connection import Connection
from ..db.database import Database
from ..errors import ExecutorStopping
from ..logs import logger

# In the place of a queue's name: there may be work on any.
ANY_QUEUE = ""
# What is told of one matter goes out at once, and then no oftener than this: notifications of the whole server stand in
# one line.
_QUIET_SECONDS = 0.005

# Matters that are no queues.
_WAITS = ("waits",)
_ENDS = ("ends",)


class Voice:
    """Tells other processes of work that this one has committed or of a slot that it freed, of what it waits for, and
    of the end of what they wait for. On a thread of its own: nobody here waits until it is told.
    """

    def __init__(self, database: Database, application: str, listener: str) -> None:
        """`listener`: by what name this process wants to be told of ends."""
        self._database = database
        self._application = application
        self._listener = listener
        self._changed = threading.Condition(threading.Lock())
        # By matter: what there is to tell, without doublets and in order.
        self._news: dict[tuple[str, ...], dict[Hashable, None]] = {}
        self._quiet_until: dict[tuple[str, ...], float] = {}
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def tell(self, queue: str) -> None:
        """There is work on this queue, or room."""
        self._add(("queue", queue), None)

    def ask(self, workflow_id: str) -> None:
        """Who ends this workflow is to tell this process."""
        self._add(_WAITS, workflow_id)

    def answer(self, listener: str, workflow_id: str) -> None:
        """This workflow, which a listener waits for, has ended."""
        self._add(_ENDS, (listener, workflow_id))

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _add(self, matter: tuple[str, ...], what: Hashable) -> None:
        with self._changed:
            known = self._news.get(matter)
            if known is not None:
                known[what] = None
                return
            if self._is_stopped:
                return
            self._news[matter] = {what: None}
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="pyengine-notifier", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _loop(self) -> None:
        while (news := self._next()) is not None:
            try:
                self._send(news)
            except ExecutorStopping:
                return
            except Exception as error:
                logger.debug("Other processes were not told of %s: %s", sorted(news), error)

    def _next(self) -> dict[tuple[str, ...], dict[Hashable, None]] | None:
        """What may be told now, as soon as there is something."""
        with self._changed:
            while not self._is_stopped:
                now = time.monotonic()
                self._quiet_until = {matter: until for matter, until in self._quiet_until.items() if until > now}
                due = self._news.keys() - self._quiet_until.keys()
                if due:
                    self._quiet_until.update(dict.fromkeys(due, now + _QUIET_SECONDS))
                    return {matter: self._news.pop(matter) for matter in due}
                self._changed.wait(min(self._quiet_until[each] for each in self._news) - now if self._news else None)
            return None

    def _send(self, news: dict[tuple[str, ...], dict[Hashable, None]]) -> None:
        queues = sorted(matter[1] for matter in news if matter not in (_WAITS, _ENDS))
        if queues:
            self._database.one(calls.notify_queues, application=self._application, queues=queues)
        if _ENDS in news:
            listeners, workflow_ids = zip(*news[_ENDS], strict=True)
            self._database.one(calls.notify_ends, listeners=list(listeners), workflow_ids=list(workflow_ids))
        if _WAITS in news:
            self._database.one(
                calls.notify_waits,
                application=self._application,
                listener=self._listener,
                workflow_ids=list(news[_WAITS]),
            )


class Ear:
    """What a thread with a connection of its own listens to between two calls: notifications, and `wake`."""

    def __init__(
        self, on_news: Mapping[str, Callable[[str], None]], is_own: Callable[[int], bool] = lambda backend: False
    ) -> None:
        """`on_news`: whom to tell, by the kind of news, which is how its channel's name begins. `is_own`: whether what
        this process of the server sent comes from here, and is known.
        """
        self._on_news = on_news
        self._is_own = is_own
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self._reader, False)

    def open(self, connection: Connection) -> None:
        """Hear what arrives on this connection, also while it makes a call."""
        connection.add_notify_handler(lambda notify: self._tell(notify.channel, notify.payload, notify.pid))

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
        heard: dict[tuple[bytes, bytes, int], None] = {}
        while (notify := connection.pgconn.notifies()) is not None:
            heard[notify.relname, notify.extra, notify.be_pid] = None
        for channel, payload, backend in heard:
            self._tell(channel.decode(errors="replace"), payload.decode(errors="replace"), backend)
        if connection.pgconn.status != psycopg.pq.ConnStatus.OK:
            raise psycopg.OperationalError("the connection was lost")

    def _tell(self, channel: str, payload: str, backend: int) -> None:
        on_news = self._on_news.get(channel.partition("_")[0])
        if on_news is not None and not self._is_own(backend):
            on_news(payload)

    def _drain(self) -> None:
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            return
