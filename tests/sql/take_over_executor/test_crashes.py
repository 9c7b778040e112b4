"""Whose crash counts, and when a workflow that crashed too often is ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plugins.clock import Clock
from plugins.executors import Executor, in_flight, outcome, read
from plugins.queueing import claim

NewExecutor = Callable[..., Executor]
SUPERVISED: dict[str, Any] = {"is_supervised": True}
ISOLATED: dict[str, Any] = {"is_supervised": True, "is_isolated": True, "seat": "here/0:suspects"}


def crashes(executor: Executor) -> dict[str, int]:
    found = read(executor.connection, "select workflow_id, crashes from pyengine.in_flight")
    return {each["workflow_id"]: each["crashes"] for each in found}


def test_whoever_waits_for_a_child_has_not_crashed(new_executor: NewExecutor) -> None:
    old, new, other = new_executor(), new_executor(), new_executor()
    for number, parent in enumerate(("waits here", "waits elsewhere", "has its answer")):
        old.start(parent, fence=5)
        old.start_child(f"child {number}", parent, 5, 0, fence=6)
    # The claim that the crash is judged by came after all that.
    old.connection.execute("update pyengine.checkpoints set completed_at = '2000-01-01'")
    old.connection.execute("update pyengine.in_flight set executor_id = %s where workflow_id = 'child 1'", (other.id,))
    old.finish("child 2", 6)
    new.mark_dead(old, "child_died")
    new.take_over(old)

    assert crashes(new) == {"waits here": 0, "child 0": 1, "waits elsewhere": 0, "child 1": 0, "has its answer": 1}


@pytest.mark.parametrize(("culprit", "expected"), [("slow", {"slow": 1, "other": 0}), (None, {"slow": 0, "other": 0})])
def test_of_those_that_ran_in_a_process_that_was_killed_one_at_most_has_crashed(
    new_executor: NewExecutor, culprit: str | None, expected: dict[str, int]
) -> None:
    old, new = new_executor(**SUPERVISED), new_executor()
    old.start("slow", max_recovery_attempts=0)
    old.start("other", max_recovery_attempts=0)
    new.mark_dead(old, "killed", "signal 9, 120 MB", culprit)
    stored = old.stored()

    assert (stored["dead_detail"], stored["dead_culprit"]) == ("signal 9, 120 MB", culprit)
    assert new.take_over(old) == (2, 0, False)
    assert crashes(new) == expected


def test_three_crashes_or_more_than_it_may_make_a_suspect(new_executor: NewExecutor) -> None:
    old, new = new_executor(**SUPERVISED), new_executor(**SUPERVISED)
    # How often each crashed before, and how often it may.
    before = {"few": (1, 100), "third": (2, 100), "allowed": (0, 1), "spent": (1, 1), "patient": (2, 9)}
    for workflow_id, (count, limit) in before.items():
        old.start(workflow_id, max_recovery_attempts=limit)
        old.connection.execute(
            "update pyengine.in_flight set crashes = %s where workflow_id = %s", (count, workflow_id)
        )
    new.mark_dead(old, "child_died")
    new.take_over(old)
    found = read(new.connection, "select workflow_id from pyengine.in_flight where is_suspect order by workflow_id")

    assert [each["workflow_id"] for each in found] == ["patient", "spent", "third"]


def test_a_suspect_stays_one_when_it_is_handed_over_in_good_order(new_executor: NewExecutor) -> None:
    old, new = new_executor(**ISOLATED), new_executor()
    old.start("bad")
    old.connection.execute("update pyengine.in_flight set crashes = 3, is_suspect = true")
    new.mark_dead(old, "retired")
    new.take_over(old)

    assert read(new.connection, "select crashes, is_suspect from pyengine.in_flight") == [
        {"crashes": 3, "is_suspect": True}
    ]


def test_under_a_supervisor_it_runs_alone_before_it_is_ended(new_executor: NewExecutor) -> None:
    child, isolated, warden = new_executor(**SUPERVISED), new_executor(**ISOLATED), new_executor(**SUPERVISED)
    child.start("bad", max_recovery_attempts=0)
    warden.mark_dead(child, "child_died")
    assert warden.take_over(child) == (1, 0, False)

    assert claim(warden, "_dbos_internal_queue", suspects="none") == []
    assert claim(isolated, "_dbos_internal_queue", suspects="only") == ["bad"]
    warden.mark_dead(isolated, "child_died")
    assert warden.take_over(isolated) == (0, 1, False)
    ended = outcome(warden.connection, "bad")
    assert ended is not None
    assert (ended["status"], ended["crashes"]) == ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", 2)


def test_alone_it_may_crash_as_often_as_it_was_given(new_executor: NewExecutor) -> None:
    warden = new_executor(**SUPERVISED)
    warden.start("bad", max_recovery_attempts=4)
    warden.connection.execute(
        "update pyengine.in_flight set crashes = 3, is_suspect = true, status = 'ENQUEUED', queue = 'q',"
        " executor_id = null, fence = null"
    )
    ended = []
    for _ in range(2):
        isolated = new_executor(**ISOLATED)
        assert claim(isolated, suspects="only") == ["bad"]
        warden.mark_dead(isolated, "child_died")
        ended.append(warden.take_over(isolated))

    assert ended == [(1, 0, False), (0, 1, False)]


@pytest.mark.parametrize("helper", [SUPERVISED, {}])
def test_a_host_without_a_supervisor_leaves_it_to_one_that_has(new_executor: NewExecutor, helper: Any) -> None:
    old, _, new = new_executor(), new_executor(**helper), new_executor()
    old.start("bad", max_recovery_attempts=0)
    new.mark_dead(old)

    assert new.take_over(old) == ((1, 0, False) if helper else (0, 1, False))


def test_a_supervisor_of_another_version_is_no_help(new_executor: NewExecutor) -> None:
    old, _, new = new_executor(), new_executor(app_version="v2", **SUPERVISED), new_executor()
    old.start("bad", max_recovery_attempts=0)
    new.mark_dead(old)

    assert new.take_over(old) == (0, 1, False)


@pytest.mark.parametrize(
    ("seats", "crashed", "is_ended"), [(3, 2, False), (4, 2, True), (5, 3, False), (2, 2, True), (4, 1, True)]
)
def test_while_most_of_the_fleet_crashes_nothing_is_ended(
    new_executor: NewExecutor, seats: int, crashed: int, is_ended: bool
) -> None:
    fleet = [new_executor(seat=f"seat {number}") for number in range(seats)]
    witness = new_executor(application="other", seat="witness")
    fleet[0].start("bad", max_recovery_attempts=0)
    for each in fleet[:crashed]:
        witness.mark_dead(each)
    moved, quarantined, _ = witness.take_over(fleet[0])

    assert (moved, quarantined) == ((0, 1) if is_ended else (1, 0))


def test_who_left_in_good_order_or_was_killed_or_is_isolated_has_not_crashed(new_executor: NewExecutor) -> None:
    isolated = new_executor(**ISOLATED)
    fleet = [new_executor(seat=f"seat {number}", **SUPERVISED) for number in range(4)]
    isolated.start("bad", max_recovery_attempts=0)
    fleet[0].mark_dead(isolated, "child_died")
    fleet[0].mark_dead(fleet[1], "killed")
    fleet[2].retire()
    fleet[0].mark_dead(fleet[3], "child_died")

    assert fleet[0].take_over(isolated) == (0, 1, False)


def test_seats_count_and_not_the_processes_that_sat_there(new_executor: NewExecutor) -> None:
    for _ in range(3):
        crashed = new_executor(seat="one")
        crashed.start(f"w{crashed.id}", max_recovery_attempts=0)
        crashed.mark_dead(crashed)
    witness, _ = new_executor(seat="two"), new_executor(seat="three")

    assert witness.take_over(crashed) == (0, 1, False)


def test_the_storm_is_over_after_a_minute(new_executor: NewExecutor, clock: Clock) -> None:
    fleet = [new_executor(seat=f"seat {number}") for number in range(4)]
    for each in fleet[:3]:
        each.start(f"w{each.id}", max_recovery_attempts=0)
        fleet[3].mark_dead(each)
    during = fleet[3].take_over(fleet[0])
    clock.advance(61)

    assert during == (1, 0, False)
    assert fleet[3].take_over(fleet[1]) == (0, 1, False)
    assert in_flight(fleet[3].connection, f"w{fleet[0].id}") is not None


def test_children_are_looked_up_one_by_one(new_executor: NewExecutor) -> None:
    old, new = new_executor(), new_executor()
    old.start("w", fence=5)
    old.start_child("child", "w", 5, 0)
    new.connection.execute("set plan_cache_mode = force_generic_plan")
    first = new_executor()
    new.mark_dead(first)
    new.take_over(first)
    new.connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application)"
        " select 'b' || n, 'ENQUEUED', 'q', 'app' from generate_series(1, 20000) as n"
    )
    new.connection.execute("update pyengine.checkpoints set completed_at = '2000-01-01'")
    new.mark_dead(old)
    new.connection.autocommit = False
    new.take_over(old)
    counted = "select seq_tup_read + idx_tup_fetch as n from pg_stat_xact_user_tables where relname = 'in_flight'"

    assert read(new.connection, counted)[0]["n"] < 50
