"""Declarations of queues and schedules against each other and against what goes by them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import pytest

from plugins.executors import Executor, read, row, rows, token
from plugins.queueing import put_queue
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]
InBackground = Callable[..., Future[Any]]


@pytest.fixture
def three(session_factory: NewSession) -> tuple[Connection, Connection, Connection]:
    """An observer and two users, the first of which holds its transaction open."""
    return session_factory(), session_factory(autocommit=False), session_factory()


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_the_later_declaration_of_a_queue_holds(
    three: tuple[Connection, Connection, Connection], in_background: InBackground, ends: str, is_declared: bool
) -> None:
    observer, one, two = three
    if is_declared:
        put_queue(observer)
    put_queue(one, concurrency=1)
    later = in_background(put_queue, two, concurrency=2)
    wait_until_blocked(observer, two, by=one)
    getattr(one, ends)()
    later.result(10)

    assert [found["concurrency"] for found in read(observer, "select concurrency from pyengine.queues")] == [2]


def put_schedule(connection: Connection, first_at: datetime, cron: str = "x") -> datetime:
    given = {"application": "app", "schedule_name": "s", "workflow_name": "flow", "cron": cron, "first_at": first_at}
    due: datetime = rows(connection, "put_schedule", **given)[0]["next_at"]
    return due


def now(connection: Connection) -> datetime:
    slot: datetime = read(connection, "select date_trunc('second', pyengine._now()) as slot")[0]["slot"]
    return slot


def fire(executor: Executor, slot: datetime) -> str:
    verdict: str = row(
        executor.connection, "fire_schedule", **executor.me, application="app", schedule_name="s", slot=slot,
        next_slot=slot + timedelta(minutes=1), start_token=token(), workflow_id=f"s-{slot}", name="flow",
        class_name=None, app_version=None, inputs=None, max_recovery_attempts=1,
    )["verdict"]  # fmt: skip
    return verdict


def test_two_hosts_declare_one_schedule(
    three: tuple[Connection, Connection, Connection], in_background: InBackground
) -> None:
    """Both come up at once, on either side of a slot: they agree on the one that is stored."""
    observer, one, two = three
    slot = now(observer) + timedelta(seconds=30)
    assert put_schedule(one, slot) == slot
    later = in_background(put_schedule, two, slot + timedelta(minutes=1))
    wait_until_blocked(observer, two, by=one)
    one.commit()

    assert later.result(10) == slot


def test_fire_before_another_cron(
    three: tuple[Connection, Connection, Connection], new_executor: NewExecutor, in_background: InBackground
) -> None:
    observer, _, two = three
    executor = new_executor()
    slot = now(observer)
    put_schedule(observer, slot)
    executor.connection.autocommit = False
    assert fire(executor, slot) == "fired"
    later = in_background(put_schedule, two, slot + timedelta(hours=1), "y")
    wait_until_blocked(observer, two, by=executor.connection)
    executor.connection.commit()

    assert later.result(10) == slot + timedelta(hours=1)
    assert fire(executor, slot) == "lost"


@pytest.mark.parametrize(("ends", "verdict"), [("commit", "lost"), ("rollback", "fired")])
def test_another_cron_before_fire(
    three: tuple[Connection, Connection, Connection],
    new_executor: NewExecutor,
    in_background: InBackground,
    ends: str,
    verdict: str,
) -> None:
    observer, one, _ = three
    executor = new_executor()
    slot = now(observer)
    put_schedule(observer, slot)
    put_schedule(one, slot + timedelta(hours=1), "y")
    firing = in_background(fire, executor, slot)
    wait_until_blocked(observer, executor.connection, by=one)
    getattr(one, ends)()

    assert firing.result(10) == verdict
    assert len(read(observer, "select * from pyengine.workflows")) == (1 if verdict == "fired" else 0)
