from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Executor, outcome, put_in_flight, read, rows, value
from plugins.queueing import cancel, doctor, resume

NewExecutor = Callable[..., Executor]
DAY = 24 * 3600 + 1


def known(executor: Executor) -> list[int]:
    found = read(executor.connection, "select executor_id from pyengine.executors order by executor_id")
    return [each["executor_id"] for each in found]


def prune(executor: Executor, limit: int = 10) -> int:
    found: int = value(executor.connection, "prune_executors", limit=limit)
    return found


def test_forgets_who_handed_over_more_than_a_day_ago(new_executor: NewExecutor, clock: Clock) -> None:
    done, dead, alive = new_executor(), new_executor(), new_executor()
    done.retire()
    dead.retire()
    alive.take_over(done)
    clock.advance(DAY - 10)
    early = prune(alive)
    clock.advance(10)

    assert (early, prune(alive), prune(alive)) == (0, 1, 0)
    assert known(alive) == [dead.id, alive.id]


def test_goes_in_small_batches_the_oldest_first(new_executor: NewExecutor, clock: Clock) -> None:
    alive, old = new_executor(), [new_executor() for _ in range(5)]
    for each in old:
        each.retire()
        alive.take_over(each)
    clock.advance(DAY)

    assert prune(alive, 2) == 2
    assert known(alive) == [alive.id] + [each.id for each in old[2:]]


def test_housekeeping_says_when_there_is_somebody_to_forget(new_executor: NewExecutor, clock: Clock) -> None:
    done, alive = new_executor(), new_executor()
    done.retire()
    alive.take_over(done)
    assert alive.housekeep() == []
    clock.advance(DAY)
    alive.beat()

    assert alive.housekeep() == [("prune_executors", None)]
    prune(alive)
    clock.advance(1)
    assert alive.housekeep() == []


def test_its_label_stays_readable_and_can_be_asked_for(new_executor: NewExecutor, clock: Clock) -> None:
    done, alive = new_executor(label="blue"), new_executor(label="green")
    done.start("w", fence=5)
    done.finish("w", 5)
    alive.start("x", fence=6)
    done.retire()
    alive.take_over(done)
    clock.advance(DAY)
    assert prune(alive) == 1

    labels = read(alive.connection, "select workflow_id, executor_id from pyengine.workflow_status order by 1")
    assert [each["executor_id"] for each in labels] == ["blue", "green"]
    none = dict.fromkeys(
        ("workflow_ids", "id_prefixes", "statuses", "names", "app_versions", "queues", "users", "parent_ids",
         "forked_from", "schedule_names", "applications", "created_after", "created_before", "completed_after",
         "completed_before", "dequeued_after", "dequeued_before", "attributes", "queues_only", "has_parent",
         "is_fork", "limit", "offset", "sort_desc", "load_input", "load_output")
    )  # fmt: skip
    listed = rows(alive.connection, "list_workflows", executor_labels=["blue"], **none)
    assert [each["workflow_id"] for each in listed] == ["w"]


def test_what_it_ran_can_still_be_resumed_and_its_writes_are_still_refused(
    new_executor: NewExecutor, clock: Clock
) -> None:
    done, alive = new_executor(), new_executor()
    done.start("w", fence=5)
    cancel(alive.connection, "w")
    done.retire()
    alive.take_over(done)
    clock.advance(DAY)
    assert prune(alive) == 1
    alive.beat()

    assert resume(alive.connection, "w") == "resumed"
    for late in (lambda: done.checkpoint("w", 5, 0), lambda: done.finish("w", 5), done.beat):
        with pytest.raises(psycopg.Error) as caught:
            late()
        assert caught.value.sqlstate == "WF001"
    assert outcome(alive.connection, "w") is None
    assert doctor(alive.connection) == []


def test_whom_unfinished_work_still_names_is_kept_for_doctor_to_show(new_executor: NewExecutor, clock: Clock) -> None:
    done, alive = new_executor(), new_executor()
    done.retire()
    alive.take_over(done)
    put_in_flight(
        alive.connection, "w", app_version="v1", status="PENDING", executor_id=done.id, fence=5, claimed_at="2000-01-01"
    )
    clock.advance(DAY)
    alive.beat()

    assert prune(alive) == 0
    assert doctor(alive.connection) == [(2, "workflow w")]


def test_what_was_left_for_it_goes_too(new_executor: NewExecutor, clock: Clock) -> None:
    done, alive = new_executor(), new_executor()
    done.retire()
    alive.take_over(done)
    alive.connection.execute(
        "insert into pyengine.interrupts values (%s, 'w', 5, 'cancelled', pyengine._now())", (done.id,)
    )
    clock.advance(DAY)
    prune(alive)

    assert read(alive.connection, "select 1 from pyengine.interrupts") == []
