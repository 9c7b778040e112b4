from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from plugins.executors import Executor, in_flight, outcome, put_in_flight, read, value


@pytest.fixture
def old(new_executor: Callable[..., Executor]) -> Executor:
    return new_executor()


def test_living_executor_is_not_taken_over(executor: Executor, old: Executor) -> None:
    old.start("w")

    with pytest.raises(psycopg.Error) as caught:
        executor.take_over(old)
    assert caught.value.sqlstate == "WF101"


def test_direct_starts_go_to_the_internal_queue(executor: Executor, old: Executor) -> None:
    old.start("w", fence=5)
    executor.mark_dead(old)

    assert executor.take_over(old) == (1, 0, False)
    moved = in_flight(executor.connection, "w")
    assert moved is not None
    assert (moved["status"], moved["queue"], moved["replay"]) == ("ENQUEUED", "_dbos_internal_queue", True)
    assert (moved["executor_id"], moved["fence"], moved["claimed_at"]) == (None, None, None)
    assert old.stored()["handed_over_at"] is not None


def test_queued_rows_go_back_to_their_queue_and_lane(executor: Executor, old: Executor) -> None:
    now = executor.tick()["server_time"]
    owned = {"status": "PENDING", "executor_id": old.id, "fence": 5, "claimed_at": now}
    put_in_flight(executor.connection, "w", queue="q", partition_key="p", **owned)
    executor.mark_dead(old)
    executor.take_over(old)

    moved = in_flight(executor.connection, "w")
    assert moved is not None
    assert (moved["queue"], moved["partition_key"]) == ("q", "p")
    lanes = read(executor.connection, "select queue, application, partition_key from pyengine.lanes")
    assert lanes == [{"queue": "q", "application": "app", "partition_key": "p"}]


def test_goes_in_chunks_until_nothing_is_left(executor: Executor, old: Executor) -> None:
    for number in range(5):
        old.start(f"w{number}")
    executor.mark_dead(old)

    assert [executor.take_over(old, 2) for _ in range(4)] == [(2, 0, True), (2, 0, True), (1, 0, False), (0, 0, False)]


def test_crash_is_counted_only_where_nothing_was_achieved(executor: Executor, old: Executor) -> None:
    for workflow_id in ("stuck", "progress", "asleep", "awake"):
        old.start(workflow_id, fence=5)
    old.checkpoint("progress", 5, 0)
    old.sleep("asleep", 5, 0, 3600)
    old.sleep("awake", 5, 0, 0)
    # The sleep of an earlier claim is no progress of this one.
    old.connection.execute(
        "update pyengine.checkpoints set wake_at = '2000-01-01', completed_at = '2000-01-01'"
        " where workflow_id = 'awake'"
    )
    old.connection.execute("update pyengine.checkpoints set completed_at = '2000-01-01' where workflow_id = 'asleep'")
    executor.mark_dead(old)
    executor.take_over(old)

    crashes = {
        found["workflow_id"]: found["crashes"]
        for found in read(executor.connection, "select workflow_id, crashes from pyengine.in_flight")
    }
    assert crashes == {"stuck": 1, "progress": 0, "asleep": 0, "awake": 1}


@pytest.mark.parametrize("reason", ["retired", "handed_over"])
def test_handing_over_in_good_order_counts_nothing(executor: Executor, old: Executor, reason: str) -> None:
    old.start("w", max_recovery_attempts=0)
    old.retire(reason)

    assert executor.take_over(old) == (1, 0, False)
    moved = in_flight(executor.connection, "w")
    assert moved is not None
    assert moved["crashes"] == 0


def test_workflow_past_its_recovery_attempts_ends(executor: Executor, old: Executor) -> None:
    old.start("last", fence=5, max_recovery_attempts=1)
    old.start("spent", fence=6, max_recovery_attempts=1)
    old.connection.execute("update pyengine.in_flight set crashes = 1 where workflow_id = 'spent'")
    executor.mark_dead(old)

    assert executor.take_over(old) == (1, 1, False)
    assert in_flight(executor.connection, "last") is not None
    ended = outcome(executor.connection, "spent")
    assert ended is not None
    assert (ended["status"], ended["crashes"]) == ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 2)
    assert (ended["executor_id"], ended["fence"]) == (old.id, 6)


def test_old_owner_is_refused_everything(executor: Executor, old: Executor) -> None:
    old.start("w", fence=5)
    executor.mark_dead(old)
    executor.take_over(old)

    for late in (lambda: old.checkpoint("w", 5, 0), lambda: old.finish("w", 5), lambda: old.start("x"), old.beat):
        with pytest.raises(psycopg.Error) as caught:
            late()
        assert caught.value.sqlstate == "WF001"
    assert value(executor.connection, "cancel_workflow", workflow_id="w") == "cancelled"


def test_plans_of_rare_calls_never_read_whole_tables(executor: Executor, old: Executor) -> None:
    old.start("w", deadline="2000-01-01")
    executor.housekeep()
    executor.connection.execute("update pyengine.housekeeping set server_started_at = '2000-01-01'")
    executor.mark_dead(old)
    executor.connection.autocommit = False
    assert ("take_over", old.id) in executor.housekeep()
    executor.take_over(old)
    value(executor.connection, "release_delayed", limit=10)
    value(executor.connection, "expire_deadlines", limit=10)
    counted = "select relname from pg_stat_xact_user_tables where schemaname = 'pyengine' and seq_scan > 0"

    assert [
        found["relname"] for found in read(executor.connection, counted) if found["relname"] != "housekeeping"
    ] == []
