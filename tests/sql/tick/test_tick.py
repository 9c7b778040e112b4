from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Executor, put_in_flight, read, value


def test_tick_without_beat_writes_nothing(executor: Executor) -> None:
    before = read(executor.connection, "select xmin::text, ctid::text from pyengine.executors")
    executor.tick()

    assert read(executor.connection, "select xmin::text, ctid::text from pyengine.executors") == before


def test_beat_renews_even_an_expired_lease(executor: Executor, clock: Clock) -> None:
    clock.advance(3600)
    ticked = executor.beat()

    assert executor.stored()["lease_expires_at"] - ticked["server_time"] <= timedelta(seconds=15)
    assert executor.stored()["lease_expires_at"] > ticked["server_time"] + timedelta(seconds=14)


@pytest.mark.parametrize("held", [None, []])
def test_dead_executor_is_told(executor: Executor, held: list[int] | None) -> None:
    executor.retire()

    with pytest.raises(psycopg.Error) as caught:
        executor.tick(held)
    assert caught.value.sqlstate == "WF001"


def test_claims_nobody_holds_come_back_after_a_beat(executor: Executor, clock: Clock) -> None:
    executor.start("known", fence=5)
    executor.start("lost", fence=6)

    assert executor.beat(5)["unheld_fences"] == []
    clock.advance(6)
    assert executor.tick([5], seeks_claims=False)["unheld_fences"] == []
    assert executor.beat(5)["unheld_fences"] == [6]
    assert executor.tick()["unheld_fences"] == []


def test_a_beat_that_seeks_no_claims_walks_over_none(executor: Executor) -> None:
    for number in range(20):
        executor.start(f"{number}", fence=number + 1)

    def walked(seeks_claims: bool) -> int:
        name = "pg_stat_get_xact_tuples_returned('pyengine.in_flight_executor_idx'::regclass)"
        with executor.connection.transaction():
            before = read(executor.connection, f"select coalesce({name}, 0) as n")[0]["n"]
            executor.tick([], seeks_claims=seeks_claims)
            found: int = read(executor.connection, f"select coalesce({name}, 0) as n")[0]["n"] - before
            return found

    assert (walked(False), walked(True)) == (0, 20)


def test_interrupts_are_told_again_until_they_are_old(executor: Executor, clock: Clock) -> None:
    executor.start("w", fence=5)
    value(executor.connection, "cancel_workflow", workflow_id="w")

    for ticked in (executor.tick(), executor.beat()):
        assert (ticked["interrupted_ids"], ticked["interrupted_fences"]) == (["w"], [5])
        assert ticked["interrupted_reasons"] == ["cancelled"]
    clock.advance(61)
    assert executor.beat()["interrupted_ids"] == []


def test_ready_queues_are_those_with_work_of_this_version(executor: Executor) -> None:
    put_in_flight(executor.connection, "a", queue="own", app_version="v1")
    put_in_flight(executor.connection, "b", queue="any")
    put_in_flight(executor.connection, "c", queue="foreign", app_version="v0")
    put_in_flight(executor.connection, "d", queue="other_application", application="other")
    put_in_flight(executor.connection, "e", queue="later", status="DELAYED", run_at="2999-01-01")
    queues = ["later", "foreign", "own", "any", "other_application", "empty"]

    assert executor.tick(queues=queues)["ready_queues"] == ["own", "any"]


def test_unversioned_work_is_not_for_old_versions(new_executor: Callable[..., Executor]) -> None:
    old = new_executor(app_version="v1")
    new_executor(app_version="v2")
    put_in_flight(old.connection, "b", queue="any")

    assert old.tick(queues=["any"])["ready_queues"] == []


def test_beat_on_another_backend_clears_liveness(
    executor: Executor, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    executor.hold_liveness()
    assert executor.beat()["holds_liveness"]
    executor.connection = session_factory()

    assert not executor.beat()["holds_liveness"]
    assert executor.stored()["liveness_pid"] is None


def test_plans_never_read_whole_tables(executor: Executor) -> None:
    """A session warmed on an empty database keeps its plans, and a forbidden scan that must be is compiled."""
    executor.start("warm", fence=4)
    executor.connection.autocommit = False
    executor.start("w", fence=5)
    executor.start_child("child", "w", 5, 0)
    executor.checkpoint("w", 5, 1)
    executor.checkpoint("w", 5, 1)
    executor.sleep("w", 5, 2, 1)
    executor.attempt("w", 5, 3, 1)
    executor.beat(5, queues=["q"])
    executor.tick(queues=["q"])
    executor.finish("w", 5)
    executor.finish("w", 5)
    executor.housekeep()
    counted = read(
        executor.connection,
        "select relname, seq_scan, idx_scan from pg_stat_xact_user_tables where schemaname = 'pyengine'",
    )

    assert {found["relname"]: found["idx_scan"] for found in counted}["in_flight"] > 0
    # One row, written once a second.
    assert [found["relname"] for found in counted if found["seq_scan"] and found["relname"] != "housekeeping"] == []


def test_keeps_house_on_the_way(new_executor: Callable[..., Executor]) -> None:
    """What housekeep finds comes with the tick, so that an idle executor makes one call a second."""
    dead, alive = new_executor(), new_executor()
    dead.retire()
    ticked = alive.tick(looks_for_the_dead=True)

    assert list(zip(ticked["duties"], ticked["subjects"], strict=True)) == [("take_over", dead.id)]
    assert alive.tick(looks_for_the_dead=True)["duties"] == [], "not twice in half a second"
    assert alive.tick()["duties"] == []


def test_a_beat_keeps_no_house(executor: Executor) -> None:
    """It locks its own row, and a round rows of others: two of them could wait for each other."""
    with pytest.raises(psycopg.Error) as caught:
        executor.tick(held=[], looks_for_the_dead=True)
    assert caught.value.sqlstate == "WF101"
