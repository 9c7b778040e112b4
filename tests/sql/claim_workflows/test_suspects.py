"""Workflows that brought three executors down are run alone, by whom that is meant for, and stand in nobody's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.executors import Connection, Executor, in_flight, put_in_flight
from plugins.queueing import claim, enqueue, put_queue

NewExecutor = Callable[..., Executor]


def put(connection: Connection, workflow_id: str, **columns: Any) -> None:
    put_in_flight(connection, workflow_id, **({"app_version": "v1"} | columns))


def put_in_lane(connection: Connection, workflow_id: str, key: str, **columns: Any) -> None:
    put(connection, workflow_id, partition_key=key, **columns)
    connection.execute(
        "insert into pyengine.lanes values ('q', 'app', %s, pyengine._now()) on conflict do nothing", (key,)
    )


def test_who_leaves_them_to_others_passes_over_them(executor: Executor) -> None:
    for number in range(5):
        put(executor.connection, f"bad {number}", crashes=3)
    put(executor.connection, "good")

    assert claim(executor, suspects="none", limit=2) == ["good"]
    assert claim(executor, suspects="none") == []


def test_an_isolated_executor_takes_one_at_a_time_and_nothing_else(executor: Executor) -> None:
    put(executor.connection, "good")
    put(executor.connection, "second", crashes=3, priority=2)
    put(executor.connection, "first", crashes=4, priority=1)
    put(executor.connection, "of another version", crashes=3, app_version="v0")

    assert [claim(executor, suspects="only", limit=10) for _ in range(3)] == [["first"], ["second"], []]
    assert claim(executor) == ["good"]


def test_a_repeat_of_that_claim_returns_the_same_one(executor: Executor) -> None:
    put(executor.connection, "first", crashes=3)
    put(executor.connection, "second", crashes=3)

    assert [claim(executor, suspects="only", fence=5) for _ in range(2)] == [["first"]] * 2


def test_without_a_supervisor_one_comes_alone_when_it_is_first(executor: Executor) -> None:
    put(executor.connection, "good", priority=1)
    put(executor.connection, "bad", priority=2, crashes=3)
    put(executor.connection, "later", priority=3)

    assert [claim(executor) for _ in range(3)] == [["good", "later"], ["bad"], []]


@pytest.mark.parametrize("limits", [{}, {"partition_concurrency": 1}])
def test_partitions_of_suspects_are_passed_over_or_sought_out(executor: Executor, limits: dict[str, int]) -> None:
    put_queue(executor.connection, is_partitioned=True, **limits)
    for number in range(3):
        put_in_lane(executor.connection, f"bad {number}", key=f"k{number}", crashes=3)
    put_in_lane(executor.connection, "good", key="k2")

    assert claim(executor, suspects="none") == ["good"]
    assert claim(executor, suspects="none") == [], "and nobody is told to come back at once"
    # The partition of the last one is at its limit, where there is one.
    expected = [["bad 0"], ["bad 1"], [] if limits else ["bad 2"]]
    assert [claim(executor, suspects="only") for _ in range(3)] == expected


def test_limits_of_the_queue_hold_for_them(executor: Executor) -> None:
    put_queue(executor.connection, concurrency=1)
    put(executor.connection, "bad", crashes=3)
    put(executor.connection, "good")

    assert claim(executor, suspects="none") == ["good"]
    assert claim(executor, suspects="only") == []


def test_an_emptied_partition_that_still_holds_a_suspect_is_kept(executor: Executor) -> None:
    put_queue(executor.connection, is_partitioned=True)
    enqueue(executor.connection, "good", partition_key="k")
    put_in_lane(executor.connection, "bad", key="k", crashes=3)
    assert claim(executor, suspects="none") == ["good"]
    assert claim(executor, suspects="none") == []

    assert claim(executor, suspects="only") == ["bad"]
    assert in_flight(executor.connection, "bad") is not None


@pytest.mark.parametrize(
    ("registration", "ready"),
    [
        ({}, ["both", "bad", "good"]),
        ({"is_supervised": True}, ["both", "good"]),
        ({"is_supervised": True, "is_isolated": True}, ["both", "bad"]),
    ],
)
def test_the_tick_tells_of_queues_with_work_for_this_kind_of_executor(
    new_executor: NewExecutor, registration: dict[str, bool], ready: list[str]
) -> None:
    executor = new_executor(**registration)
    put(executor.connection, "a", queue="both", crashes=3)
    put(executor.connection, "b", queue="both")
    put(executor.connection, "c", queue="bad", crashes=3)
    put(executor.connection, "d", queue="good")
    put(executor.connection, "e", queue="other version", app_version="v0", crashes=3)

    assert executor.tick(queues=["both", "bad", "good", "other version", "empty"])["ready_queues"] == ready


@pytest.mark.parametrize("suspects", [None, "", "all"])
def test_what_to_do_with_them_must_be_said(executor: Executor, suspects: Any) -> None:
    with pytest.raises(psycopg.Error) as caught:
        claim(executor, suspects=suspects)
    assert caught.value.sqlstate == "WF101"
