"""Processes tell each other of work after it is committed, and nothing rests on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg

from plugins.sessions import wait_until
from pyengine import DBOS, Queue
from pyengine.db.connection import Connection
from pyengine.runtime.notifications import ANY_QUEUE, Ear

Sessions = Callable[..., psycopg.Connection[Any]]


def listener(session_factory: Sessions) -> psycopg.Connection[Any]:
    connection = session_factory()
    connection.execute("select pyengine.listen_to_queues('test-app')")
    return connection


def test_what_is_enqueued_is_announced(launch: Callable[..., type[DBOS]], session_factory: Sessions) -> None:
    queue = Queue("orders")

    @DBOS.workflow()
    def order() -> str:
        return "done"

    launch()
    ear = listener(session_factory)
    handle = queue.enqueue(order)

    assert next(ear.notifies(timeout=10)).payload == "orders"
    assert handle.get_result() == "done"


def test_what_others_announce_is_looked_for(launch: Callable[..., type[DBOS]], session_factory: Sessions) -> None:
    queue = Queue("orders")
    ran = threading.Event()

    @DBOS.workflow()
    def order() -> None:
        ran.set()

    launch()
    voice = session_factory()
    queue.enqueue(order)
    assert ran.wait(30)
    voice.execute("select pyengine.notify_queues('test-app', array['orders', 'not served', ''])")

    ran.clear()
    queue.enqueue(order)
    assert ran.wait(30), "an executor must not stumble over what it hears"


def test_without_notifications_nobody_is_told(launch: Callable[..., type[DBOS]], session_factory: Sessions) -> None:
    queue = Queue("orders")

    @DBOS.workflow()
    def order() -> str:
        return "done"

    launch(use_listen_notify=False)
    ear = listener(session_factory)
    assert queue.enqueue(order).get_result() == "done"
    session_factory().execute("select pyengine.notify_queues('test-app', array['the last'])")

    assert [notify.payload for notify in ear.notifies(timeout=10, stop_after=1)] == ["the last"]


def test_work_handed_back_is_announced(launch: Callable[..., type[DBOS]], session_factory: Sessions) -> None:
    asleep = threading.Event()

    @DBOS.workflow()
    def nap() -> None:
        asleep.set()
        DBOS.sleep(1000)

    launch()
    ear = listener(session_factory)
    handle = DBOS.start_workflow(nap)
    assert asleep.wait(30)
    DBOS.destroy()

    assert next(ear.notifies(timeout=10)).payload == ANY_QUEUE
    session_factory().execute("select pyengine.cancel_workflow(%s)", (handle.workflow_id,))


def test_an_ear_hears_while_it_waits_and_is_woken(session_factory: Sessions, database_url: str) -> None:
    told: list[str] = []
    ear = Ear(told.append)
    connection = Connection.open(database_url)
    ear.open(connection)
    connection.execute("select pyengine.listen_to_queues('test-app')")
    waiting = threading.Thread(target=ear.wait, args=(connection, 60))
    waiting.start()
    session_factory().execute("select pyengine.notify_queues('test-app', array['orders'])")
    wait_until(lambda: told == ["orders"], what="the news")
    assert waiting.is_alive()
    ear.wake()
    waiting.join(30)
    connection.close()

    assert not waiting.is_alive()
