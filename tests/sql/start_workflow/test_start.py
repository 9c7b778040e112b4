from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from plugins.executors import Executor, in_flight, read


def test_new_workflow_is_claimed_by_its_starter(executor: Executor) -> None:
    started = executor.start("w", fence=5, inputs=b"j[]", max_recovery_attempts=7)

    assert (started["verdict"], started["fence"], started["deadline"]) == ("yours", 5, None)
    stored = in_flight(executor.connection, "w")
    assert stored is not None
    assert (stored["status"], stored["executor_id"], stored["fence"], stored["attempts"]) == (
        "PENDING",
        executor.id,
        5,
        1,
    )
    assert (stored["queue"], stored["max_recovery_attempts"], stored["app_version"]) == (None, 7, "v1")


def test_same_token_gets_the_same_answer(executor: Executor) -> None:
    first = executor.start("w", fence=5, start_token=1, timeout=timedelta(hours=1))
    again = executor.start("w", fence=5, start_token=1, timeout=timedelta(hours=1))

    assert (again["verdict"], again["fence"], again["deadline"]) == ("yours", 5, first["deadline"])


def test_other_token_is_told_what_exists(executor: Executor) -> None:
    executor.start("w", name="first", class_name="C", config_name="one")
    other = executor.start("w", name="second")

    assert (other["verdict"], other["fence"]) == ("exists", None)
    assert (other["existing_name"], other["existing_class_name"], other["existing_config_name"]) == (
        "first",
        "C",
        "one",
    )
    assert other["existing_status"] == "PENDING"


def test_same_token_after_the_end_is_told_the_status(executor: Executor) -> None:
    executor.start("w", fence=5, start_token=1)
    executor.finish("w", 5, "ERROR")
    again = executor.start("w", fence=5, start_token=1)

    assert (again["verdict"], again["existing_status"]) == ("exists", "ERROR")


def test_same_token_from_another_executor_never_runs_it_twice(new_executor: Callable[..., Executor]) -> None:
    old, new = new_executor(), new_executor()
    old.start("w", fence=5, start_token=1)
    old.retire()
    new.take_over(old)
    again = new.start("w", fence=5, start_token=1)

    assert (again["verdict"], again["existing_status"]) == ("exists", "ENQUEUED")


def test_deadline_is_the_earlier_of_timeout_and_deadline(executor: Executor) -> None:
    now = executor.tick()["server_time"]
    soon = executor.start("soon", timeout=timedelta(seconds=5), deadline=now + timedelta(hours=1))
    late = executor.start("late", timeout=timedelta(hours=2), deadline=now + timedelta(hours=1))

    assert timedelta(seconds=5) <= soon["deadline"] - now < timedelta(seconds=6)
    assert late["deadline"] == now + timedelta(hours=1)


def test_deadline_in_the_past_is_stored_and_expires_at_the_next_round(executor: Executor) -> None:
    executor.start("w", deadline=executor.tick()["server_time"] - timedelta(hours=1))

    assert ("expire_deadlines", None) in executor.housekeep()
    assert read(executor.connection, "select 1 from pyengine.workflows")
