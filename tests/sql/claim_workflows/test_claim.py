from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from plugins.executors import Executor, in_flight, put_in_flight
from plugins.queueing import cancel, claim, claim_rows, enqueue

NewExecutor = Callable[..., Executor]


def test_a_claim_carries_everything_a_run_needs(executor: Executor) -> None:
    enqueue(
        executor.connection, "w", inputs=b"j[]", priority=3, deduplication_id="k", timeout=timedelta(hours=1),
        attributes='{"a": 1}', authenticated_roles=["r"], class_name="C", config_name="c",
    )  # fmt: skip
    (found,) = claim_rows(executor, fence=7)
    stored = in_flight(executor.connection, "w")

    assert (found["verdict"], found["fence"], found["inputs"], found["attempts"]) == ("claimed", 7, b"j[]", 1)
    assert (found["class_name"], found["config_name"], found["authenticated_roles"]) == ("C", "c", ["r"])
    assert (found["attributes"], found["replay"], found["priority"]) == ({"a": 1}, False, 3)
    assert stored is not None
    assert (stored["status"], stored["executor_id"]) == ("PENDING", executor.id)
    assert found["deadline"] == stored["claimed_at"] + timedelta(hours=1)


def test_priority_comes_before_arrival(executor: Executor) -> None:
    for workflow_id, priority in (("late", 9), ("a", 1), ("b", 1), ("first", None)):
        enqueue(executor.connection, workflow_id, priority=priority)

    assert claim(executor) == ["first", "a", "b", "late"]


def test_the_same_fence_returns_its_rows_and_claims_no_others(executor: Executor) -> None:
    enqueue(executor.connection, "a")
    first = claim_rows(executor, fence=7)
    enqueue(executor.connection, "b")

    assert claim_rows(executor, fence=7) == first
    assert claim(executor, fence=8) == ["b"]


def test_own_version_and_no_version_are_merged_in_order(executor: Executor) -> None:
    for place, version in enumerate(["v1", None, "v0", None, "v1"]):
        enqueue(executor.connection, f"{place}", app_version=version)

    assert claim(executor, limit=3, unversioned=True) == ["0", "1", "3"]
    assert claim(executor, unversioned=False) == ["4"]


def test_a_row_without_version_takes_the_version_of_who_begins_it(executor: Executor) -> None:
    enqueue(executor.connection, "w", app_version=None)
    (found,) = claim_rows(executor)

    assert found["app_version"] == "v1"


def test_other_applications_and_queues_are_left_alone(executor: Executor) -> None:
    enqueue(executor.connection, "other", application="elsewhere")
    enqueue(executor.connection, "another", queue="q2")

    assert claim(executor) == []


def test_inputs_come_along_up_to_64_kilobytes(executor: Executor) -> None:
    for workflow_id, size in (("a", 40_000), ("huge", 70_000), ("b", 20_000), ("c", 20_000)):
        enqueue(executor.connection, workflow_id, inputs=b"x" * size)
    found = claim_rows(executor)

    assert [(each["workflow_id"], each["verdict"]) for each in found] == [
        ("a", "claimed"), ("huge", "claimed_large"), ("b", "claimed"), ("c", "claimed_large"),
    ]  # fmt: skip
    assert [each["inputs"] is None for each in found] == [False, True, False, True]


def test_what_brings_executors_down_is_claimed_alone(executor: Executor) -> None:
    put_in_flight(executor.connection, "good", app_version="v1")
    put_in_flight(executor.connection, "bad", app_version="v1", crashes=3)
    put_in_flight(executor.connection, "better", app_version="v1", crashes=2)

    assert [claim(executor) for _ in range(3)] == [["good", "better"], ["bad"], []]


def test_what_is_delayed_or_cancelled_is_not_claimed(executor: Executor) -> None:
    enqueue(executor.connection, "later", delay=timedelta(hours=1))
    enqueue(executor.connection, "gone")
    cancel(executor.connection, "gone")

    assert claim(executor) == []


@pytest.mark.parametrize(("limit", "queue"), [(0, "q"), (1001, "q"), (1, "")])
def test_a_claim_is_bounded(executor: Executor, limit: int, queue: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        claim(executor, queue, limit)

    assert refused.value.sqlstate == "WF101"


def test_the_dead_claim_nothing(executor: Executor) -> None:
    enqueue(executor.connection, "w")
    executor.retire()
    with pytest.raises(psycopg.Error) as refused:
        claim(executor)

    assert refused.value.sqlstate == "WF001"
