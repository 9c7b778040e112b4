from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from plugins.batching import STARTS, call, freeze_clock, many, one, parent_of, start_row, wipe, written
from plugins.clock import Clock
from plugins.executors import Executor, Row, in_flight, read
from plugins.queueing import cancel, enqueue

# Counted from the instant of the test.
LATER = timedelta(days=1)
SOON = timedelta(seconds=30)
KINDS: dict[str, Row] = {
    "plain": {},
    "inputs": {"inputs": b"\x00\xffbytes"},
    "empty inputs": {"inputs": b""},
    "names": {"name": "grüße", "class_name": "C", "config_name": "one"},
    "timeout": {"timeout": timedelta(seconds=90, microseconds=1)},
    "deadline": {"deadline": LATER},
    "deadline before timeout": {"deadline": SOON, "timeout": timedelta(minutes=1)},
    "timeout before deadline": {"deadline": LATER, "timeout": timedelta(minutes=1)},
    "attempts": {"max_recovery_attempts": 3},
    "user": {"authenticated_user": "ada", "assumed_role": "admin"},
    "roles": {"authenticated_user": "ada", "authenticated_roles": ["admin", 'a "quoted, {one}\\', "", "grüße"]},
    "no roles": {"authenticated_roles": []},
    "attributes": {"attributes": '{"customer": {"id": 7, "vip": true}, "of": "grüße"}'},
    "empty attributes": {"attributes": "{}"},
    "null for attributes": {"attributes": "null"},
    "largest numbers": {"fence": 2**63 - 1, "start_token": 2**63 - 1},
    "child": {"name": "child", **parent_of("parent", 5, 1)},
}


@pytest.fixture
def now(executor: Executor) -> datetime:
    """An instant that lasts."""
    return freeze_clock(executor.connection)


@pytest.fixture
def parent(executor: Executor, now: datetime) -> Executor:
    """Runs `parent` under fence 5."""
    executor.start("parent", fence=5)
    return executor


def given(executor: Executor, kind: str, workflow_id: str, now: datetime) -> Row:
    row = {"fence": 7 + len(workflow_id), "start_token": 100 + len(workflow_id)} | KINDS[kind]
    if "deadline" in row:
        row["deadline"] += now
    return start_row(executor, workflow_id, **row)


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_lands_as_the_function_for_one_lands_it(
    parent: Executor, kind: str, now: datetime, healthy: None
) -> None:
    connection = parent.connection
    row = given(parent, kind, "w", now)
    reply = call(connection, STARTS.many, STARTS.gather([row]))
    together, verdict = written(connection), STARTS.done(row, reply)
    wipe(connection, "parent")
    connection.execute("delete from pyengine.checkpoints")

    assert reply.left_over == []
    assert one(connection, STARTS, row) == verdict
    assert together == written(connection)


def test_rows_of_all_kinds_land_as_the_function_for_one_lands_them(parent: Executor, now: datetime) -> None:
    connection = parent.connection
    rows = [given(parent, kind, "w" * place, now) for place, kind in enumerate(KINDS, 1)]
    reply = call(connection, STARTS.many, STARTS.gather(rows))
    together, verdicts = written(connection), [STARTS.done(row, reply) for row in rows]
    wipe(connection, "parent")
    connection.execute("delete from pyengine.checkpoints")

    assert reply.left_over == []
    assert [one(connection, STARTS, row) for row in rows] == verdicts
    alone = written(connection)
    assert {**together, "in_flight": sorted(together["in_flight"], key=str)} == {
        **alone,
        "in_flight": sorted(alone["in_flight"], key=str),
    }


def test_a_timeout_is_so_many_seconds_while_the_clocks_on_the_wall_are_put_forward(
    executor: Executor, clock: Clock
) -> None:
    connection = executor.connection
    connection.execute("set timezone = 'Europe/Berlin'")
    connection.execute("update test_clock.shift set by = timestamptz '2031-03-30 00:30:00+00' - clock_timestamp()")
    row = start_row(executor, "w", 1, timeout=timedelta(hours=3))
    verdict = STARTS.done(row, call(connection, STARTS.many, STARTS.gather([row])))

    (stored,) = read(connection, "select deadline from pyengine.in_flight")
    assert verdict.deadline == stored["deadline"]


def test_ids_that_exist_are_left_over_and_the_others_started(executor: Executor, healthy: None) -> None:
    executor.start("b", fence=5)
    enqueue(executor.connection, "d")
    rows = [start_row(executor, workflow_id) for workflow_id in "abcde"]

    assert many(executor.connection, STARTS, rows) == [2, 4]
    assert [one(executor.connection, STARTS, rows[place]).verdict for place in (1, 3)] == ["exists", "exists"]
    assert {found["workflow_id"] for found in read(executor.connection, "select * from pyengine.in_flight")} == set(
        "abcde"
    )


def test_a_repeat_is_left_over_whole_and_yours(executor: Executor, healthy: None) -> None:
    rows = [start_row(executor, workflow_id) for workflow_id in "ab"]
    assert many(executor.connection, STARTS, rows) == []
    before = written(executor.connection)

    assert many(executor.connection, STARTS, rows) == [1, 2]
    assert written(executor.connection) == before
    assert [one(executor.connection, STARTS, row)[:2] for row in rows] == [("yours", row["fence"]) for row in rows]


def test_of_two_rows_with_one_id_the_first_is_started(executor: Executor, healthy: None) -> None:
    rows = [start_row(executor, workflow_id, fence) for workflow_id, fence in (("w", 1), ("v", 2), ("w", 3), ("w", 4))]

    assert many(executor.connection, STARTS, rows) == [3, 4]
    started = in_flight(executor.connection, "w")
    assert started is not None
    assert started["fence"] == 1


def test_tokens_of_claims_grow_also_where_the_header_was_waited_for(executor: Executor) -> None:
    reply = call(executor.connection, STARTS.many, STARTS.gather([start_row(executor, "w", 1)]))
    (row,) = read(
        executor.connection,
        "select h.created_at, f.claimed_at from pyengine.workflows h natural join pyengine.in_flight f",
    )

    assert row["claimed_at"] == reply.server_time
    assert row["created_at"] <= row["claimed_at"]


# -- children ----------------------------------------------------------------------------------------


def test_a_parent_whose_claim_is_over_starts_no_child(executor: Executor, healthy: None) -> None:
    connection = executor.connection
    for place, parent in enumerate(("lost", "cancelled", "held"), 1):
        executor.start(parent, fence=place)
    cancel(connection, "cancelled")
    rows = [
        start_row(executor, "a", **parent_of("lost", 9, 1)),
        start_row(executor, "b", **parent_of("cancelled", 2, 1)),
        start_row(executor, "c", **parent_of("held", 3, 1)),
        start_row(executor, "d", **parent_of("unknown", 3, 1)),
        start_row(executor, "e"),
    ]

    assert many(connection, STARTS, rows) == [1, 2, 4]
    verdicts = [one(connection, STARTS, rows[place]).verdict for place in (0, 1, 3)]
    assert verdicts == ["fenced", "cancelled", "fenced"]
    assert read(connection, "select workflow_id, step_id, name, child_id from pyengine.checkpoints") == [
        {"workflow_id": "held", "step_id": 1, "name": "flow", "child_id": "c"}
    ]


def test_a_step_that_is_stored_starts_no_child(executor: Executor, healthy: None) -> None:
    executor.start("parent", fence=5)
    executor.checkpoint("parent", 5, 1, name="charge")
    rows = [
        start_row(executor, "a", **parent_of("parent", 5, 1)),
        start_row(executor, "b", **parent_of("parent", 5, 2)),
    ]

    assert many(executor.connection, STARTS, rows) == [1]
    assert one(executor.connection, STARTS, rows[0]).verdict == "unexpected_step"


def test_two_children_of_one_step_fail_the_batch_and_leave_nothing(executor: Executor, healthy: None) -> None:
    executor.start("parent", fence=5)
    rows = [start_row(executor, workflow_id, **parent_of("parent", 5, 1)) for workflow_id in "ab"]

    with pytest.raises(psycopg.errors.UniqueViolation):
        many(executor.connection, STARTS, rows)
    assert len(read(executor.connection, "select * from pyengine.workflows")) == 1


# -- the fence ---------------------------------------------------------------------------------------


def test_a_dead_executor_starts_nothing(new_executor: Callable[..., Executor]) -> None:
    executor = new_executor()
    executor.retire()
    with pytest.raises(psycopg.Error) as refused:
        many(executor.connection, STARTS, [start_row(executor, workflow_id) for workflow_id in "ab"])

    assert refused.value.sqlstate == "WF001"
    assert read(executor.connection, "select * from pyengine.workflows") == []


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_blank_id_fails_the_batch(executor: Executor, blank: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        many(executor.connection, STARTS, [start_row(executor, "w"), start_row(executor, blank)])

    assert read(executor.connection, "select * from pyengine.workflows") == []


def test_only_read_committed_will_do(executor: Executor) -> None:
    executor.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    executor.connection.autocommit = False
    with pytest.raises(psycopg.Error) as refused:
        many(executor.connection, STARTS, [start_row(executor, "w")])
    executor.connection.rollback()

    assert refused.value.sqlstate == "WF005"


def test_columns_are_null_where_one_row_has_none(executor: Executor) -> None:
    rows: list[dict[str, Any]] = [start_row(executor, "a", inputs=b"x", timeout=timedelta(1)), start_row(executor, "b")]
    assert many(executor.connection, STARTS, rows) == []

    (row,) = read(
        executor.connection,
        "select h.inputs, f.timeout, f.deadline from pyengine.workflows as h natural join pyengine.in_flight as f"
        " where workflow_id = 'b'",
    )
    assert row == {"inputs": None, "timeout": None, "deadline": None}
