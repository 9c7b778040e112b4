from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.executors import Connection, Executor, in_flight, read
from plugins.queueing import cancel, claim, enqueue, put_queue


def headers(connection: Connection) -> set[str]:
    return {found["workflow_id"] for found in read(connection, "select workflow_id from pyengine.workflows")}


def test_the_same_token_is_yours_and_another_exists(session: Connection) -> None:
    first = enqueue(session, "w", start_token=5)
    again = enqueue(session, "w", start_token=5)
    other = enqueue(session, "w", start_token=6, queue="elsewhere")

    assert [first["verdict"], again["verdict"], other["verdict"]] == ["yours", "yours", "exists"]
    assert (other["existing_name"], other["existing_queue"], other["existing_status"]) == ("flow", "q", "ENQUEUED")


def test_a_finished_workflow_exists_with_its_status(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.finish("w", 5)

    assert enqueue(executor.connection, "w")["existing_status"] == "SUCCESS"


def test_a_delay_makes_it_wait(session: Connection) -> None:
    enqueue(session, "w", delay=timedelta(seconds=60), partition_key=None)
    waiting = in_flight(session, "w")

    assert waiting is not None
    assert waiting["status"] == "DELAYED"
    assert waiting["run_at"] is not None


@pytest.mark.parametrize(
    "arguments",
    [
        {"workflow_id": " "},
        {"start_token": None},
        {"name": ""},
        {"queue": None},
        {"priority": -1},
        {"delay": timedelta(seconds=-1)},
        {"timeout": timedelta(0)},
        {"queue": "partitioned"},
        {"queue": "plain", "partition_key": "k"},
        {"parent_id": "p"},
        {"parent_id": "p", "parent_fence": 1, "parent_step_id": 1},
    ],
)
def test_what_cannot_be_enqueued_is_refused_before_anything_is_written(
    session: Connection, arguments: dict[str, Any]
) -> None:
    put_queue(session, "partitioned", is_partitioned=True)
    put_queue(session, "plain")
    with pytest.raises(psycopg.Error) as refused:
        enqueue(session, **({"workflow_id": "w"} | arguments))

    assert refused.value.sqlstate == "WF101"
    assert headers(session) == set()


def test_a_missing_partition_key_is_explained(session: Connection) -> None:
    put_queue(session, is_partitioned=True)
    with pytest.raises(psycopg.Error) as refused:
        enqueue(session, "w")

    assert "partition key" in str(refused.value.diag.message_hint)


def test_a_held_deduplication_key_names_its_holder_and_leaves_nothing(session: Connection, healthy: None) -> None:
    Executor(session)
    enqueue(session, "first", deduplication_id="k")
    refused = enqueue(session, "second", deduplication_id="k")
    elsewhere = enqueue(session, "third", deduplication_id="k", queue="other")

    assert (refused["verdict"], refused["holder_id"]) == ("deduplicated", "first")
    assert elsewhere["verdict"] == "yours"
    assert headers(session) == {"first", "third"}


def test_an_existing_id_is_known_before_it_is_deduplicated(session: Connection) -> None:
    enqueue(session, "free")
    enqueue(session, "holder", deduplication_id="k")

    assert enqueue(session, "free", deduplication_id="k")["verdict"] == "exists"
    assert enqueue(session, "holder", deduplication_id="k")["verdict"] == "exists"


def test_the_end_of_the_holder_frees_the_key(executor: Executor) -> None:
    enqueue(executor.connection, "finished", deduplication_id="k")
    claim(executor, fence=5)
    running = enqueue(executor.connection, "early", deduplication_id="k")
    executor.finish("finished", 5)
    enqueue(executor.connection, "cancelled", deduplication_id="k")
    cancel(executor.connection, "cancelled")

    assert running["verdict"] == "deduplicated"
    assert enqueue(executor.connection, "last", deduplication_id="k")["verdict"] == "yours"


def child_of(executor: Executor, fence: int, **arguments: Any) -> dict[str, Any]:
    given = {**executor.me, "parent_id": "parent", "parent_fence": fence, "parent_step_id": 1, "name": "child"}
    return enqueue(executor.connection, "child", **(given | arguments))


def steps(connection: Connection) -> list[tuple[int, str, str]]:
    found = read(connection, "select step_id, name, child_id from pyengine.checkpoints order by step_id")
    return [(step["step_id"], step["name"], step["child_id"]) for step in found]


def test_a_child_is_remembered_by_its_parent(executor: Executor) -> None:
    executor.start("parent", fence=5)
    first = child_of(executor, 5, start_token=1)
    recovered = child_of(executor, 5, start_token=2)

    assert (first["verdict"], recovered["verdict"]) == ("yours", "exists")
    assert steps(executor.connection) == [(1, "child", "child")]


def test_a_deduplicated_child_is_not_remembered(executor: Executor) -> None:
    executor.start("parent", fence=5)
    enqueue(executor.connection, "holder", deduplication_id="k")

    assert child_of(executor, 5, deduplication_id="k")["verdict"] == "deduplicated"
    assert steps(executor.connection) == []


@pytest.mark.parametrize(("fence", "end", "verdict"), [(6, False, "fenced"), (5, True, "cancelled")])
def test_a_parent_that_lost_its_claim_starts_no_child(
    executor: Executor, fence: int, end: bool, verdict: str, healthy: None
) -> None:
    executor.start("parent", fence=5)
    if end:
        cancel(executor.connection, "parent")

    assert child_of(executor, fence)["verdict"] == verdict
    assert headers(executor.connection) == {"parent"}
    assert in_flight(executor.connection, "child") is None


def test_a_step_stored_under_another_name_is_unexpected(executor: Executor, healthy: None) -> None:
    executor.start("parent", fence=5)
    executor.checkpoint("parent", 5, 1, name="charge")
    found = child_of(executor, 5)

    assert (found["verdict"], found["existing_name"]) == ("unexpected_step", "charge")
    assert headers(executor.connection) == {"parent"}


def test_a_namesake_of_another_function_is_not_remembered(executor: Executor) -> None:
    executor.start("parent", fence=5)
    enqueue(executor.connection, "child", name="another")

    assert child_of(executor, 5)["existing_name"] == "another"
    assert steps(executor.connection) == []


def test_a_dead_executor_enqueues_nothing(executor: Executor) -> None:
    executor.retire()
    with pytest.raises(psycopg.Error) as refused:
        enqueue(executor.connection, "w", **executor.me)

    assert refused.value.sqlstate == "WF001"
