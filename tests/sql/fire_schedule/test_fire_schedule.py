from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Connection, Executor, read, row, rows, token
from plugins.queueing import claim_rows

MINUTE = timedelta(minutes=1)


def put(connection: Connection, first_at: datetime) -> None:
    given = {"application": "app", "schedule_name": "s", "workflow_name": "flow", "cron": "x", "first_at": first_at}
    rows(connection, "put_schedule", **given)


def fire(executor: Executor, slot: datetime, **arguments: Any) -> dict[str, Any]:
    given = {
        "application": "app", "schedule_name": "s", "slot": slot, "next_slot": slot + MINUTE, "start_token": token(),
        "workflow_id": f"sched-flow-{slot.isoformat()}", "name": "flow", "class_name": None, "app_version": None,
        "inputs": b"j[]", "max_recovery_attempts": 10,
    }  # fmt: skip
    return row(executor.connection, "fire_schedule", **executor.me, **(given | arguments))


def test_a_due_slot_enqueues_once_and_advances(executor: Executor, clock: Clock, healthy: None) -> None:
    slot = clock.now()
    put(executor.connection, slot)
    first = fire(executor, slot, start_token=7)
    repeated = fire(executor, slot, start_token=7)
    another = fire(executor, slot)

    assert [found["verdict"] for found in (first, repeated, another)] == ["fired", "fired", "lost"]
    assert another["next_at"] == slot + MINUTE
    (found,) = claim_rows(executor, "_dbos_internal_queue")
    assert (found["name"], found["schedule_name"], found["inputs"]) == ("flow", "s", b"j[]")


def test_a_slot_of_the_future_is_early(executor: Executor, clock: Clock) -> None:
    slot = clock.now() + timedelta(seconds=10)
    put(executor.connection, slot)
    found = fire(executor, slot)

    assert (found["verdict"], found["next_at"]) == ("early", slot)
    assert 9 < found["seconds_until"] <= 10


@pytest.mark.parametrize(("age", "verdict", "count"), [(4, "fired", 1), (6, "missed", 0)])
def test_slots_are_made_up_for_while_they_are_young(
    executor: Executor, clock: Clock, age: int, verdict: str, count: int
) -> None:
    slot = clock.now()
    put(executor.connection, slot)
    clock.advance(age)
    found = fire(executor, slot)

    assert (found["verdict"], found["next_at"]) == (verdict, slot + MINUTE)
    assert len(read(executor.connection, "select * from pyengine.in_flight")) == count


def test_a_schedule_that_is_gone_is_lost(executor: Executor, clock: Clock) -> None:
    found = fire(executor, clock.now())

    assert (found["verdict"], found["next_at"]) == ("lost", None)


def test_time_goes_forward(executor: Executor, clock: Clock) -> None:
    slot = clock.now()
    with pytest.raises(psycopg.Error) as refused:
        fire(executor, slot, next_slot=slot)

    assert refused.value.sqlstate == "WF101"
