"""Processes tell each other of work after it is committed, and nothing rests on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor
from plugins.queueing import claim
from plugins.sessions import wait_until
from pyengine import DBOS, Queue, SetEnqueueOptions
from pyengine.db.connection import Connection
from pyengine.db.retry import Backoff
from pyengine.runtime.dispatcher import Dispatcher
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
    ear = Ear({"queues": told.append})
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


def test_an_ear_is_deaf_to_its_own_voice(session_factory: Sessions, database_url: str) -> None:
    told: list[str] = []
    own = session_factory()
    ear = Ear({"queues": told.append}, lambda backend: backend == own.info.backend_pid)
    connection = Connection.open(database_url)
    ear.open(connection)
    connection.execute("select pyengine.listen_to_queues('test-app')")
    for voice, queue in ((own, "mine"), (session_factory(), "others")):
        voice.execute("select pyengine.notify_queues('test-app', array[%s])", (queue,))
    connection.execute("select 1")
    connection.close()

    assert told == ["others"]


def test_what_only_others_can_run_is_not_looked_for_here(
    launch: Callable[..., type[DBOS]], session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue("orders")
    heard: list[str] = []

    @DBOS.workflow()
    def order() -> str:
        return "done"

    launch()
    ear = listener(session_factory)
    hear = Dispatcher.hear

    def noted(self: Dispatcher, queue: str) -> None:
        heard.append(queue)
        hear(self, queue)

    monkeypatch.setattr(Dispatcher, "hear", noted)
    with SetEnqueueOptions(app_version="theirs"):
        handle = queue.enqueue(order)
    assert next(ear.notifies(timeout=10)).payload == "orders"
    assert heard == []
    session_factory().execute("select pyengine.cancel_workflow(%s)", (handle.workflow_id,))
    assert queue.enqueue(order).get_result() == "done"
    assert heard == ["orders"]


def test_who_ends_a_workflow_tells_those_who_wait_for_it(
    launch: Callable[..., type[DBOS]], session_factory: Sessions
) -> None:
    may_end, begun = threading.Event(), threading.Event()

    @DBOS.workflow()
    def order() -> None:
        begun.set()
        assert may_end.wait(30)

    launch()
    handle = DBOS.start_workflow(order)
    assert begun.wait(30)
    waiter, hint = session_factory(), session_factory()
    waiter.execute("select pyengine.listen_to_waits('another-app', 'somebody')")
    # Asked until it is heard: the executor may not listen yet, and a second question changes nothing.
    wait_until(
        lambda: (
            hint.execute("select pyengine.notify_waits('test-app', 'somebody', array[%s])", (handle.workflow_id,))
            and handle.workflow_id in _executor().waits._asked
        ),
        what="the question",
        timeout_seconds=30,
    )
    may_end.set()

    assert next(waiter.notifies(timeout=30)).payload == handle.workflow_id
    outcome = waiter.execute("select status from pyengine.outcomes where workflow_id = %s", (handle.workflow_id,))
    assert outcome.fetchone() == ("SUCCESS",), "nobody is told before the commit"


def test_an_end_elsewhere_is_looked_at_as_soon_as_it_is_told(
    launch: Callable[..., type[DBOS]],
    session_factory: Sessions,
    new_executor: Callable[..., Executor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # After its first look the process would wait for a quarter of an hour.
    monkeypatch.setattr(Backoff, "next", lambda self: 1000.0)
    queue = Queue("orders")

    @DBOS.workflow()
    def order() -> None:
        raise AssertionError("it runs elsewhere")

    launch()
    other = new_executor(application="test-app", app_version="theirs")
    ear = session_factory()
    ear.execute("select pyengine.listen_to_waits('test-app', 'other')")
    with SetEnqueueOptions(app_version="theirs"):
        handle = queue.enqueue(order)
    waiting = threading.Thread(target=lambda: got.append(handle.get_result()))
    got: list[object] = []
    waiting.start()
    asked, _, workflow_id = next(ear.notifies(timeout=30)).payload.partition(" ")
    assert workflow_id == handle.workflow_id
    wait_until(lambda: _executor().ticker._session, what="the ear", timeout_seconds=30)
    assert claim(other, "orders", fence=7) == [workflow_id]
    assert other.finish(workflow_id, 7, output=None) == "ok"
    assert waiting.is_alive()
    ear.execute("select pyengine.notify_ends(array[%s], array[%s])", (asked, workflow_id))
    waiting.join(30)

    assert got == [None]


def _executor() -> Any:
    from pyengine.api._state import executor

    return executor("a test")
