"""idle = "deep": a process without work is all but silent, and awake as soon as there is some."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor as Member
from plugins.executors import read
from plugins.queueing import cancel, enqueue
from plugins.sessions import wait_until
from pyengine import DBOS, Queue
from pyengine.api._state import executor
from pyengine.runtime import rest

Launch = Callable[..., type[DBOS]]
Sessions = Callable[..., psycopg.Connection[Any]]
# What a test that is not about it never waits for.
_LONG = 600.0


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`rests(seconds)`: how long; after a fifth of a second without work."""

    def shorten(seconds: float = _LONG) -> None:
        monkeypatch.setattr(rest, "QUIET_SECONDS", 0.2)
        monkeypatch.setattr(rest, "AGAIN_SECONDS", 0.2)
        monkeypatch.setattr(rest, "REST_SECONDS", seconds)

    shorten()
    return shorten


Flow = Callable[[str], str]


@pytest.fixture
def queue(launch: Launch) -> Queue:
    return Queue("work")


@pytest.fixture
def flow(launch: Launch, rests: Callable[..., None], queue: Queue) -> Flow:
    """A workflow, in a process that rests."""

    @DBOS.workflow(name="flow")
    def flow(name: str) -> str:
        return name

    launch(idle="deep", application_version="v1")
    wait_until_resting()
    return flow


def is_resting() -> bool:
    found = executor("test").rest
    assert found is not None
    return found.is_on


def wait_until_resting() -> None:
    wait_until(is_resting, what="rest", timeout_seconds=60)


def from_outside(connection: psycopg.Connection[Any], workflow_id: str, **arguments: Any) -> None:
    """By a client that tells nobody."""
    given = {"queue": "work", "application": "test-app", "app_version": "v1", "name": "flow"}
    enqueue(connection, workflow_id, inputs=b'j{"args":["x"],"kwargs":{}}', **(given | arguments))


def ended(connection: psycopg.Connection[Any], workflow_id: str) -> None:
    wait_until(
        lambda: read(connection, "select status from pyengine.outcomes where workflow_id = %s", workflow_id),
        what=f"{workflow_id}'s end",
        timeout_seconds=60,
    )


def test_one_statement_a_rest_is_all(
    launch: Launch, rests: Callable[..., None], statements: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rests(1.0)
    queues = [Queue("quick", polling_interval_sec=0.05), Queue("other")]

    @DBOS.workflow()
    def flow() -> str:
        return "done"

    with caplog.at_level(logging.INFO):
        launch(idle="deep")
    assert "one call every 1 s (idle: deep)" in caplog.text
    assert [queue.enqueue(flow).get_result() for queue in queues] == ["done", "done"]
    wait_until_resting()
    statements.clear()
    began = time.monotonic()
    wait_until(lambda: len(statements) >= 5, what="five rests", timeout_seconds=120)
    seconds = time.monotonic() - began

    assert len(statements) <= seconds + 1
    wait_until_resting()  # it has the last answer
    assert set(statements) == {"rest_executor"}, statements


def test_it_is_off_unless_it_is_asked_for(launch: Launch, rests: Callable[..., None], statements: list[str]) -> None:
    launch()
    assert executor("test").rest is None
    wait_until(lambda: statements.count("tick") >= 4, what="ticks", timeout_seconds=60)
    assert "rest_executor" not in statements


def test_the_lease_is_the_ordinary_one_before_anything_is_written(
    flow: Flow, queue: Queue, statements: list[str]
) -> None:
    statements.clear()
    assert queue.enqueue(flow, "a").get_result() == "a"

    assert statements[0] == "tick"
    assert {"enqueue_workflow", "claim_workflows"} <= set(statements)
    wait_until_resting()


def test_a_direct_start_wakes_it(flow: Flow, session_factory: Sessions) -> None:
    connection = session_factory()
    leases: list[float] = []

    @DBOS.workflow()
    def looks() -> None:
        (found,) = read(
            connection,
            "select extract(epoch from lease_expires_at - clock_timestamp())::float8 as lease, rests_for"
            " from pyengine.executors",
        )
        assert found["rests_for"] is None
        leases.append(found["lease"])

    looks()
    assert leases[0] <= 15.0


def test_a_notification_wakes_it(flow: Flow, session_factory: Sessions) -> None:
    connection = session_factory()
    from_outside(connection, "told")
    connection.execute("select pyengine.notify_queues('test-app', array['work'])")
    ended(connection, "told")


def test_news_of_work_that_others_do_wakes_it_too(flow: Flow, session_factory: Sessions) -> None:
    session_factory().execute("select pyengine.notify_queues('test-app', array['somebody''s'])")
    wait_until(lambda: not is_resting(), what="waking", timeout_seconds=60)
    wait_until_resting()


def test_its_own_waking_is_told_to_others(flow: Flow, session_factory: Sessions) -> None:
    listener = session_factory()
    listener.execute("select pyengine.listen_to_queues('test-app')")
    assert flow("a") == "a"  # of which nobody is told
    assert next(listener.notifies(timeout=30)).payload == ""


def test_what_falls_due_wakes_it(flow: Flow, session_factory: Sessions) -> None:
    connection = session_factory()
    from_outside(connection, "now")
    connection.execute("select pyengine.notify_queues('test-app', array['work'])")
    ended(connection, "now")
    # Before it rests again: so it learns of them.
    from_outside(connection, "later", delay=timedelta(seconds=4))
    from_outside(connection, "overdue", app_version="v0", timeout=None, deadline=None)
    connection.execute(
        "update pyengine.in_flight set deadline = clock_timestamp() + interval '4 s' where workflow_id = 'overdue'"
    )
    wait_until_resting()
    ended(connection, "later")
    ended(connection, "overdue")


def test_a_schedule_wakes_it(launch: Launch, rests: Callable[..., None]) -> None:
    ran, rested = threading.Event(), threading.Event()

    @DBOS.scheduled("*/4 * * * * *")
    @DBOS.workflow()
    def often(scheduled: Any, actual: Any) -> None:
        if rested.is_set():
            ran.set()

    launch(idle="deep")
    wait_until_resting()
    rested.set()
    assert ran.wait(60)


@pytest.mark.parametrize("config", [{"use_listen_notify": False}, {"transaction_pooler": True}, {}])
def test_what_nobody_told_of_is_found_after_a_rest(
    launch: Launch, rests: Callable[..., None], session_factory: Sessions, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rests(2.0)
    Queue("work")

    @DBOS.workflow(name="flow")
    def flow(name: str) -> str:
        return name

    with caplog.at_level(logging.INFO):
        launch(idle="deep", application_version="v1", **config)
    assert ("is found within 2 s" in caplog.text) == bool(config)
    wait_until_resting()
    from_outside(session_factory(), "quiet")
    ended(session_factory(), "quiet")


def test_it_does_not_rest_while_others_work_and_looks_after_them(
    launch: Launch, rests: Callable[..., None], session_factory: Sessions
) -> None:
    rests(1.0)
    other = Member(session_factory(), application="another", lease_ttl=timedelta(seconds=6))
    other.start("w", fence=7)
    launch(idle="deep")
    wait_until(lambda: other.dead_reason == "lease_expired", what="its death", timeout_seconds=60)
    moved = "select status from pyengine.in_flight where workflow_id = 'w'"
    wait_until(lambda: read(other.connection, moved) == [{"status": "ENQUEUED"}], what="takeover", timeout_seconds=60)
    wait_until_resting()
    assert cancel(other.connection, "w") == "cancelled"


def test_who_begins_to_work_while_it_rests_is_looked_after_from_the_next_call_on(
    launch: Launch, rests: Callable[..., None], session_factory: Sessions
) -> None:
    rests(2.0)
    launch(idle="deep", lease_ttl_seconds=3)
    wait_until_resting()
    other = Member(session_factory(), application="another", lease_ttl=timedelta(seconds=3))
    other.start("w", fence=7)
    wait_until(lambda: other.dead_reason, what="its death", timeout_seconds=60)
    assert other.dead_reason == "lease_expired"
    assert cancel(other.connection, "w") == "cancelled"


def test_a_link_that_breaks_is_made_anew(flow: Flow, session_factory: Sessions) -> None:
    connection = session_factory()
    (ours,) = read(connection, "select liveness_pid as pid from pyengine.executors")
    connection.execute("select pg_terminate_backend(%s)", (ours["pid"],))
    wait_until(
        lambda: read(connection, "select from pyengine.executors where liveness_pid <> %s", ours["pid"]),
        what="a new liveness lock",
        timeout_seconds=60,
    )
    assert executor("test").identity.executor_id == 1
    wait_until_resting()


def test_one_that_was_declared_dead_while_it_rested_registers_anew(
    launch: Launch, rests: Callable[..., None], session_factory: Sessions
) -> None:
    rests(1.0)
    launch(idle="deep")
    wait_until_resting()
    me = executor("test")
    before = me.identity
    session_factory().execute(
        "update pyengine.executors set dead_at = clock_timestamp(), dead_reason = 'lease_expired'"
    )
    wait_until(lambda: me.identity != before, what="a new incarnation", timeout_seconds=60)
    wait_until_resting()


def test_it_ends_at_once_however_long_it_would_have_rested(flow: Flow, session_factory: Sessions) -> None:
    began = time.monotonic()
    DBOS.destroy()
    assert time.monotonic() - began < 30
    assert read(session_factory(), "select dead_reason from pyengine.executors") == [{"dead_reason": "retired"}]
