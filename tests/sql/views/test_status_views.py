"""What operators watch: executors and queues at a glance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg

from plugins.executors import Executor, Row, read
from plugins.queueing import enqueue


def executor_status(connection: psycopg.Connection[tuple[object, ...]], executor: Executor) -> Row:
    query = "select * from pyengine.executor_status where executor_id = %s"
    return read(connection, query, executor.id)[0]


def test_a_living_executor_and_what_it_runs(executor: Executor) -> None:
    executor.hold_liveness()
    executor.start("w", fence=5)

    found = executor_status(executor.connection, executor)

    assert (found["state"], found["running"], found["holds_liveness"]) == ("ALIVE", 1, True)
    assert (found["label"], found["application"], found["app_version"]) == ("local", "app", "v1")


def test_a_dead_one_says_why(executor: Executor, new_executor: Callable[..., Executor]) -> None:
    other = new_executor()
    executor.mark_dead(other, "process_gone")

    found = executor_status(executor.connection, other)

    assert (found["state"], found["dead_reason"], found["handed_over_at"]) == ("DEAD", "process_gone", None)


def test_one_whose_lease_is_over_is_silent_until_somebody_marks_it(
    executor: Executor, new_executor: Callable[..., Executor]
) -> None:
    other = new_executor(lease_ttl=timedelta(milliseconds=1))

    executor.connection.execute("select pg_sleep(0.005)")

    assert executor_status(executor.connection, other)["state"] == "SILENT"


def test_a_queue_tells_what_waits_and_for_how_long(executor: Executor) -> None:
    connection = executor.connection
    enqueue(connection, "first")
    enqueue(connection, "second")
    enqueue(connection, "later", delay=timedelta(hours=1))
    connection.execute("update pyengine.workflows set created_at = created_at - interval '1 minute'")

    found = read(connection, "select * from pyengine.queue_status")

    assert len(found) == 1
    assert (found[0]["enqueued"], found[0]["delayed"], found[0]["running"]) == (2, 1, 0)
    assert found[0]["oldest_id"] == "first"
    assert 60 <= found[0]["oldest_seconds"] < 3600


def test_what_was_delayed_waits_since_it_was_due(executor: Executor) -> None:
    connection = executor.connection
    enqueue(connection, "w", delay=timedelta(milliseconds=1))
    connection.execute("update pyengine.workflows set created_at = created_at - interval '1 day'")
    connection.execute("select pg_sleep(0.005)")
    connection.execute("select from pyengine.release_delayed(10)")

    found = read(connection, "select * from pyengine.queue_status")

    assert found[0]["oldest_id"] == "w"
    assert found[0]["oldest_seconds"] < 3600


def test_a_queue_without_waiting_work_has_no_oldest(executor: Executor) -> None:
    enqueue(executor.connection, "w", delay=timedelta(hours=1))

    found = read(executor.connection, "select * from pyengine.queue_status")

    assert (found[0]["enqueued"], found[0]["oldest_seconds"], found[0]["oldest_id"]) == (0, 0, None)
