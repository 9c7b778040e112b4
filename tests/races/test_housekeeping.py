"""Housekeeping against beats, against itself, and lanes against their deletion."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, put_in_flight, read, value
from plugins.sessions import wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
EXPIRED = "update pyengine.executors set lease_expires_at = '2000-01-01' where executor_id = %s"


def test_beat_before_the_mark_saves(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, keeper, other = (new_executor() for _ in range(3))
    observer.connection.execute(EXPIRED, (other.id,))
    other.connection.autocommit = False
    other.beat()
    keeping = in_background(keeper.housekeep)
    wait_until_blocked(observer.connection, keeper.connection, by=other.connection)
    other.connection.commit()
    keeping.result(10)

    assert other.dead_reason is None


def test_beat_after_the_mark_is_refused(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, keeper, other = (new_executor() for _ in range(3))
    observer.connection.execute(EXPIRED, (other.id,))
    keeper.connection.autocommit = False
    assert keeper.housekeep() == [("take_over", other.id)]
    beat = in_background(other.beat)
    wait_until_blocked(observer.connection, other.connection, by=keeper.connection)
    keeper.connection.commit()

    with pytest.raises(psycopg.Error) as caught:
        beat.result(10)
    assert caught.value.sqlstate == "WF001"


def test_second_housekeeper_does_not_wait(new_executor: NewExecutor) -> None:
    one, two, dead = (new_executor() for _ in range(3))
    dead.retire()
    one.connection.autocommit = False
    assert one.housekeep() == [("take_over", dead.id)]

    assert two.housekeep() == []
    one.connection.rollback()
    assert two.housekeep() == [("take_over", dead.id)]


def test_liveness_lock_is_had_again_after_a_look(new_executor: NewExecutor) -> None:
    keeper, other = new_executor(), new_executor()
    other.connection.execute(
        "update pyengine.executors set liveness_pid = 1, liveness_started_at = '2000-01-01' where executor_id = %s",
        (other.id,),
    )
    keeper.connection.autocommit = False
    keeper.housekeep()

    # The look must not wait for a session that may hold the lock for ever, nor the other way round.
    other.connection.execute("set lock_timeout = '5s'")
    held = value(other.connection, "_advisory_key", kind="liveness", id=str(other.id))
    assert other.connection.execute("select pg_try_advisory_lock(%s)", (held,)).fetchone() == (False,)
    keeper.connection.commit()
    assert other.hold_liveness()


def test_lane_deleted_under_an_opener_is_opened_again(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, claimer, keeper = (new_executor() for _ in range(3))
    put_in_flight(observer.connection, "w", status="DELAYED", run_at="2000-01-01", partition_key="p")
    value(observer.connection, "_open_lane", queue="q", application="app", partition_key="p")
    claimer.connection.autocommit = False
    claimer.connection.execute("delete from pyengine.lanes")
    released = in_background(value, keeper.connection, "release_delayed", limit=10)
    wait_until_blocked(observer.connection, keeper.connection, by=claimer.connection)
    claimer.connection.commit()

    assert released.result(10) == 1
    assert read(observer.connection, "select partition_key from pyengine.lanes") == [{"partition_key": "p"}]


def test_lane_is_not_deleted_under_its_opener(new_executor: NewExecutor) -> None:
    keeper, claimer = new_executor(), new_executor()
    put_in_flight(keeper.connection, "w", status="DELAYED", run_at="2000-01-01", partition_key="p")
    value(keeper.connection, "_open_lane", queue="q", application="app", partition_key="p")
    keeper.connection.autocommit = False
    assert value(keeper.connection, "release_delayed", limit=10) == 1

    skipped = "select 1 from pyengine.lanes for update skip locked"
    assert read(claimer.connection, skipped) == []
    keeper.connection.commit()
    assert len(read(claimer.connection, skipped)) == 1


def test_leases_are_given_in_the_order_of_ids_whatever_the_plan(
    new_executor: NewExecutor, in_background: InBackground
) -> None:
    """After an outage the first round renews all leases, and so does each supervisor for its own. In one order."""
    first, second, observer, keeper = (new_executor() for _ in range(4))
    observer.housekeep()
    observer.connection.execute("update pyengine.housekeeping set server_started_at = '2000-01-01'")
    # The first one's row comes to lie behind the second one's, as it may after many beats, and is read there.
    for statement in (
        "create temporary table moved as select * from pyengine.executors where executor_id = %s",
        "delete from pyengine.executors where executor_id = %s",
        "insert into pyengine.executors overriding system value select * from moved where executor_id = %s",
    ):
        observer.connection.execute(statement, (first.id,))
    keeper.connection.execute("set enable_indexscan = off")
    supervisor = first.connection
    supervisor.autocommit = False
    lock = "select 1 from pyengine.executors where executor_id = %s for no key update"
    supervisor.execute(lock, (first.id,))
    keeping = in_background(keeper.housekeep)
    wait_until_blocked(observer.connection, keeper.connection, by=supervisor)
    supervisor.execute("set lock_timeout = '5s'")
    supervisor.execute(lock, (second.id,))
    supervisor.commit()

    assert keeping.result(10) == []
