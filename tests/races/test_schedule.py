"""One slot, two executors: one fires it, the other learns what comes next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import pytest

from plugins.executors import Executor, read, row, rows, token
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
MINUTE = timedelta(minutes=1)


def put(connection: Connection) -> datetime:
    slot: datetime = read(connection, "select date_trunc('second', pyengine._now()) as slot")[0]["slot"]
    given = {"application": "app", "schedule_name": "s", "workflow_name": "flow", "cron": "x", "first_at": slot}
    rows(connection, "put_schedule", **given)
    return slot


def fire(executor: Executor, slot: datetime, start_token: int | None = None) -> dict[str, Any]:
    return row(
        executor.connection, "fire_schedule", **executor.me, application="app", schedule_name="s", slot=slot,
        next_slot=slot + MINUTE, start_token=start_token or token(), workflow_id=f"sched-{slot}", name="flow",
        class_name=None, app_version=None, inputs=None, max_recovery_attempts=1,
    )  # fmt: skip


@pytest.mark.parametrize(("ends", "verdict"), [("commit", "lost"), ("rollback", "fired")])
@pytest.mark.parametrize("first", [0, 1])
def test_two_executors_fire_one_slot_once(
    new_executor: NewExecutor, in_background: InBackground, ends: str, verdict: str, first: int
) -> None:
    observer, *both = (new_executor() for _ in range(3))
    one, two = both[first], both[1 - first]
    slot = put(observer.connection)
    one.connection.autocommit = False
    assert fire(one, slot)["verdict"] == "fired"
    waiting = in_background(fire, two, slot)
    wait_until_blocked(observer.connection, two.connection, by=one.connection)
    getattr(one.connection, ends)()
    found = waiting.result(10)

    assert (found["verdict"], found["next_at"]) == (verdict, slot + MINUTE)
    assert len(read(observer.connection, "select * from pyengine.in_flight")) == 1


def test_a_late_original_and_its_repeat_fire_once(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, original, repeat = (new_executor() for _ in range(3))
    slot = put(observer.connection)
    original.connection.autocommit = False
    fire(original, slot, 7)
    waiting = in_background(fire, repeat, slot, 7)
    wait_until_blocked(observer.connection, repeat.connection, by=original.connection)
    original.connection.commit()

    assert waiting.result(10)["verdict"] == "fired"
    assert len(read(observer.connection, "select * from pyengine.workflows")) == 1


def test_a_storm_fires_each_slot_once(new_executor: NewExecutor, in_background: InBackground) -> None:
    executors = [new_executor() for _ in range(4)]
    slot = put(executors[0].connection)

    found = [each.result(30)["verdict"] for each in [in_background(fire, one, slot) for one in executors]]

    assert sorted(found) == ["fired", "lost", "lost", "lost"]
