from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from plugins.batching import ENQUEUES, enqueue_row, freeze_clock, many, one, parent_of, wipe, written
from plugins.executors import Connection, Executor, Row, in_flight, read
from plugins.queueing import cancel, enqueue, put_queue

KINDS: dict[str, Row] = {
    "plain": {},
    "inputs": {"inputs": b"\x00\xffbytes"},
    "names": {"name": "grüße", "class_name": "C", "config_name": "one"},
    "no version": {"app_version": None},
    "other version": {"app_version": "v2"},
    "other queue": {"queue": "other"},
    "priority": {"priority": 3},
    "undelayed": {"delay": timedelta(0)},
    "delayed": {"delay": timedelta(seconds=90, microseconds=1)},
    "timeout": {"timeout": timedelta(minutes=1)},
    "deadline": {"deadline": datetime(2031, 1, 1, tzinfo=timezone.utc)},
    "attempts": {"max_recovery_attempts": 3},
    "user": {"authenticated_user": "ada", "assumed_role": "admin"},
    "roles": {"authenticated_user": "ada", "authenticated_roles": ["admin", 'a "quoted, {one}\\', "", "grüße"]},
    "no roles": {"authenticated_roles": []},
    "attributes": {"attributes": '{"customer": {"id": 7, "vip": true}, "of": "grüße"}'},
    "schedule": {"schedule_name": "nightly"},
    "key": {"deduplication_id": "k"},
    "partition": {"queue": "parts", "partition_key": "red"},
    "same partition": {"queue": "parts", "partition_key": "red"},
    "delayed in a partition": {"queue": "parts", "partition_key": "blue", "delay": timedelta(hours=1)},
    "child": {"name": "child", **parent_of("parent", 5, 1)},
}
REFUSED: dict[str, Row] = {
    "blank id": {"workflow_id": " \n"},
    "no id": {"workflow_id": None},
    "no token": {"start_token": None},
    "no name": {"name": ""},
    "blank queue": {"queue": " "},
    "negative priority": {"priority": -1},
    "empty key": {"deduplication_id": ""},
    "negative delay": {"delay": timedelta(seconds=-1)},
    "no time": {"timeout": timedelta(0)},
    "empty partition": {"queue": "parts", "partition_key": ""},
    "partition missing": {"queue": "parts"},
    "partition given": {"partition_key": "red"},
    "half a parent": {"parent_id": "parent"},
}


@pytest.fixture
def ready(executor: Executor) -> Executor:
    """Runs `parent` under fence 5, at an instant that lasts; queues are declared."""
    freeze_clock(executor.connection)
    put_queue(executor.connection, "q")
    put_queue(executor.connection, "parts", is_partitioned=True)
    executor.start("parent", fence=5)
    return executor


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_lands_as_the_function_for_one_lands_it(ready: Executor, kind: str) -> None:
    connection = ready.connection
    row = enqueue_row(ready, "w", **KINDS[kind])
    assert many(connection, ENQUEUES, [row]) == []
    together = written(connection)
    wipe(connection, "parent")
    connection.execute("delete from pyengine.checkpoints")

    assert one(connection, ENQUEUES, row) == ENQUEUES.done(row, [])
    assert together == written(connection)


def test_rows_of_all_kinds_land_as_the_function_for_one_lands_them(ready: Executor) -> None:
    connection = ready.connection
    rows = [enqueue_row(ready, f"w{place}", **KINDS[kind]) for place, kind in enumerate(KINDS)]
    assert many(connection, ENQUEUES, rows) == []
    together = written(connection)
    wipe(connection, "parent")
    connection.execute("delete from pyengine.checkpoints")

    assert {one(connection, ENQUEUES, row).verdict for row in rows} == {"yours"}
    alone = written(connection)
    for each in (together, alone):
        each["in_flight"].sort(key=str)
    assert together == alone


def test_a_client_enqueues_too(session: Connection) -> None:
    assert many(session, ENQUEUES, [enqueue_row(None, workflow_id) for workflow_id in "ab"]) == []


def test_the_order_given_is_the_order_of_the_queue(session: Connection) -> None:
    ids = [f"w{place * 37 % 101}" for place in range(101)]
    assert many(session, ENQUEUES, [enqueue_row(None, workflow_id) for workflow_id in ids]) == []

    found = read(session, "select workflow_id from pyengine.in_flight order by seq")
    assert [each["workflow_id"] for each in found] == ids


def test_the_order_of_arrival_is_the_order_of_the_queue_over_all_connections(
    session_factory: Callable[..., Connection],
) -> None:
    one, two = session_factory(), session_factory()
    for place, connection in enumerate([one, two, one, one, two]):
        many(connection, ENQUEUES, [enqueue_row(None, f"{place}{each}") for each in "abc"])

    found = [each["workflow_id"] for each in read(one, "select workflow_id from pyengine.in_flight order by seq")]
    assert found == sorted(found)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_refused_is_left_over_and_the_others_enqueued(ready: Executor, kind: str, healthy: None) -> None:
    connection = ready.connection
    bad = enqueue_row(ready, "bad", **REFUSED[kind])

    assert many(connection, ENQUEUES, [enqueue_row(ready, "a"), bad, enqueue_row(ready, "b")]) == [2]
    with pytest.raises(psycopg.Error) as refused:
        one(connection, ENQUEUES, bad)
    assert refused.value.sqlstate == "WF101"
    assert len(written(connection)["in_flight"]) == 3


def test_a_partition_key_of_an_undeclared_queue_is_judged_alone(executor: Executor, healthy: None) -> None:
    row = enqueue_row(executor, "w", queue="unknown", partition_key="red")

    assert many(executor.connection, ENQUEUES, [row]) == [1]
    assert one(executor.connection, ENQUEUES, row).verdict == "yours"


def test_ids_that_exist_are_left_over(executor: Executor, healthy: None) -> None:
    executor.start("b", fence=5)
    enqueue(executor.connection, "d")
    rows = [enqueue_row(executor, workflow_id) for workflow_id in "abcde"]

    assert many(executor.connection, ENQUEUES, rows) == [2, 4]
    assert one(executor.connection, ENQUEUES, rows[3]).verdict == "exists"


def test_a_repeat_is_left_over_whole_and_yours(executor: Executor, healthy: None) -> None:
    rows = [enqueue_row(executor, "a"), enqueue_row(executor, "b", deduplication_id="k")]
    assert many(executor.connection, ENQUEUES, rows) == []
    before = written(executor.connection)

    assert many(executor.connection, ENQUEUES, rows) == [1, 2]
    assert written(executor.connection) == before
    assert [one(executor.connection, ENQUEUES, row).verdict for row in rows] == ["yours", "yours"]


def test_of_two_rows_with_one_id_the_first_is_enqueued(executor: Executor, healthy: None) -> None:
    rows = [enqueue_row(executor, workflow_id, priority=place) for place, workflow_id in enumerate(["w", "v", "w"])]

    assert many(executor.connection, ENQUEUES, rows) == [3]
    found = in_flight(executor.connection, "w")
    assert found is not None
    assert found["priority"] == 0


# -- deduplication -----------------------------------------------------------------------------------


def test_a_key_is_taken_by_the_first_that_asks(executor: Executor, healthy: None) -> None:
    connection = executor.connection
    enqueue(connection, "holder", deduplication_id="held")
    keys = ["free", "held", "free", None, "free", "other"]
    rows = [enqueue_row(executor, f"w{place}", deduplication_id=key) for place, key in enumerate(keys, 1)]

    assert sorted(many(connection, ENQUEUES, rows)) == [2, 3, 5]
    verdicts = [one(connection, ENQUEUES, rows[place]) for place in (1, 2, 4)]
    assert [(each.verdict, each.holder_id) for each in verdicts] == [
        ("deduplicated", "holder"), ("deduplicated", "w1"), ("deduplicated", "w1"),
    ]  # fmt: skip


def test_the_same_key_is_free_on_another_queue_and_in_another_application(executor: Executor) -> None:
    enqueue(executor.connection, "a", deduplication_id="k")
    enqueue(executor.connection, "b", deduplication_id="k", application="other")
    rows = [enqueue_row(executor, "c", deduplication_id="k", queue="other"), enqueue_row(executor, "d")]

    assert many(executor.connection, ENQUEUES, rows) == []


def test_one_id_twice_with_a_held_key_in_between(executor: Executor, healthy: None) -> None:
    rows = [
        enqueue_row(executor, "w", deduplication_id="k"),
        enqueue_row(executor, "v", deduplication_id="k"),
        enqueue_row(executor, "w"),
    ]

    assert sorted(many(executor.connection, ENQUEUES, rows)) == [2, 3]


def test_a_refused_key_leaves_no_lane_without_a_row(ready: Executor, healthy: None) -> None:
    enqueue(ready.connection, "holder", queue="parts", partition_key="red", deduplication_id="k")
    row = enqueue_row(ready, "w", queue="parts", partition_key="blue", deduplication_id="k")

    assert many(ready.connection, ENQUEUES, [row]) == [1]
    assert [lane["partition_key"] for lane in written(ready.connection)["lanes"]] == ["red"]


# -- children and the fence --------------------------------------------------------------------------


def test_a_parent_whose_claim_is_over_enqueues_no_child(executor: Executor, healthy: None) -> None:
    connection = executor.connection
    for place, parent in enumerate(("lost", "cancelled", "held"), 1):
        executor.start(parent, fence=place)
    cancel(connection, "cancelled")
    executor.checkpoint("held", 3, 2, name="charge")
    rows = [
        enqueue_row(executor, "a", **parent_of("lost", 9, 1)),
        enqueue_row(executor, "b", **parent_of("cancelled", 2, 1)),
        enqueue_row(executor, "c", **parent_of("held", 3, 1)),
        enqueue_row(executor, "d", **parent_of("held", 3, 2)),
        enqueue_row(executor, "e"),
    ]

    assert many(connection, ENQUEUES, rows) == [1, 2, 4]
    verdicts = [one(connection, ENQUEUES, rows[place]).verdict for place in (0, 1, 3)]
    assert verdicts == ["fenced", "cancelled", "unexpected_step"]
    found = read(connection, "select step_id, child_id from pyengine.checkpoints order by step_id")
    assert [(each["step_id"], each["child_id"]) for each in found] == [(1, "c"), (2, None)]


def test_a_deduplicated_child_is_not_remembered(executor: Executor, healthy: None) -> None:
    executor.start("parent", fence=5)
    enqueue(executor.connection, "holder", deduplication_id="k")
    row = enqueue_row(executor, "w", deduplication_id="k", **parent_of("parent", 5, 1))

    assert many(executor.connection, ENQUEUES, [row]) == [1]
    assert written(executor.connection)["checkpoints"] == []


def test_a_client_has_no_children(executor: Executor) -> None:
    executor.start("parent", fence=5)

    assert many(executor.connection, ENQUEUES, [enqueue_row(None, "w", **parent_of("parent", 5, 1))]) == [1]


def test_a_dead_executor_enqueues_nothing(executor: Executor) -> None:
    executor.retire()
    with pytest.raises(psycopg.Error) as refused:
        many(executor.connection, ENQUEUES, [enqueue_row(executor, workflow_id) for workflow_id in "ab"])

    assert refused.value.sqlstate == "WF001"
    assert read(executor.connection, "select * from pyengine.workflows") == []
