from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from plugins.clock import Clock
from plugins.executors import Connection, Executor
from plugins.queueing import cancel, claim, enqueue, list_workflows


def ids(connection: Connection, **filters: Any) -> list[str]:
    return [found["workflow_id"] for found in list_workflows(connection, **filters)]


@pytest.fixture
def three(executor: Executor) -> Executor:
    """One that is running (a), one enqueued (b, a child), one finished (c_%)."""
    enqueue(executor.connection, "a", attributes='{"x": 1, "y": 2}', inputs=b"ja")
    claim(executor, fence=5)
    child = {"parent_id": "a", "parent_fence": 5, "parent_step_id": 1}
    enqueue(executor.connection, "b", queue="q2", name="other", authenticated_user="u", **executor.me, **child)
    executor.start("c_%", fence=6, app_version="v2", inputs=b"jc")
    executor.finish("c_%", 6)
    return executor


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["a", "b", "c_%"]),
        ({"sort_desc": True}, ["c_%", "b", "a"]),
        ({"limit": 1, "offset": 1}, ["b"]),
        ({"workflow_ids": ["c_%", "a", "nobody"]}, ["a", "c_%"]),
        ({"id_prefixes": ["c_", "b"]}, ["b", "c_%"]),
        ({"id_prefixes": ["%"]}, []),
        ({"statuses": ["PENDING"]}, ["a"]),
        ({"statuses": ["SUCCESS"]}, ["c_%"]),
        ({"statuses": ["SUCCESS", "ENQUEUED"]}, ["b", "c_%"]),
        ({"statuses": []}, []),
        ({"names": ["other"]}, ["b"]),
        ({"app_versions": ["v2"]}, ["c_%"]),
        ({"queues": ["q", "q2"]}, ["a", "b"]),
        ({"queues_only": True}, ["a", "b"]),
        ({"queues_only": True, "statuses": ["ENQUEUED"]}, ["b"]),
        ({"users": ["u"]}, ["b"]),
        ({"executor_labels": ["local"]}, ["a", "c_%"]),
        ({"parent_ids": ["a"]}, ["b"]),
        ({"has_parent": True}, ["b"]),
        ({"has_parent": False}, ["a", "c_%"]),
        ({"is_fork": True}, []),
        ({"applications": ["app"]}, ["a", "b", "c_%"]),
        ({"applications": ["other"]}, []),
        ({"attributes": '{"x": 1}'}, ["a"]),
        ({"completed_after": "2000-01-01"}, ["c_%"]),
        ({"dequeued_after": "2000-01-01"}, ["a", "c_%"]),
        ({"created_before": "2000-01-01"}, []),
    ],
)
def test_filters(three: Executor, filters: dict[str, Any], expected: list[str]) -> None:
    assert ids(three.connection, **filters) == expected


def test_payloads_come_when_they_are_asked_for(three: Executor) -> None:
    (bare,) = list_workflows(three.connection, workflow_ids=["c_%"])
    (whole,) = list_workflows(three.connection, workflow_ids=["c_%"], load_input=True, load_output=True)

    assert (bare["input"], bare["output"]) == (None, None)
    assert (whole["input"], whole["output"]) == (b"jc", b"j2")


def test_times_tell_the_states_a_workflow_went_through(executor: Executor, clock: Clock) -> None:
    enqueue(executor.connection, "w", timeout=timedelta(minutes=1), delay=timedelta(0))
    clock.advance(10)
    claim(executor, fence=5)
    clock.advance(10)
    executor.finish("w", 5)
    (found,) = list_workflows(executor.connection)

    assert 9_900 < found["dequeued_at_ms"] - found["created_at_ms"] < 20_000
    assert 9_900 < found["completed_at_ms"] - found["dequeued_at_ms"] < 20_000
    assert found["updated_at_ms"] == found["completed_at_ms"]
    assert found["workflow_timeout_ms"] == 60_000
    assert found["workflow_deadline_epoch_ms"] == found["dequeued_at_ms"] + 60_000
    assert (found["recovery_attempts"], found["executor_id"], found["application_name"]) == (1, "local", "app")


def test_a_cancelled_one_is_found_by_its_status(executor: Executor, session_factory: Callable[..., Connection]) -> None:
    enqueue(executor.connection, "w")
    cancel(executor.connection, "w")

    assert ids(session_factory(), statuses=["CANCELLED"], queues=["q"]) == ["w"]
