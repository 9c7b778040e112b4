from __future__ import annotations

from datetime import timedelta

from plugins.clock import Clock
from plugins.executors import Executor, value


def test_first_call_fixes_the_instant(executor: Executor, clock: Clock) -> None:
    executor.start("w", fence=5)
    first = executor.sleep("w", 5, 0, 60)
    clock.advance(20)
    again = executor.sleep("w", 5, 0, 60)

    assert (first["verdict"], first["remaining"]) == ("stored", timedelta(seconds=60))
    assert (again["verdict"], again["wake_at"]) == ("existing", first["wake_at"])
    assert timedelta(seconds=39) < again["remaining"] <= timedelta(seconds=40)


def test_sleep_that_is_over_has_nothing_left(executor: Executor, clock: Clock) -> None:
    executor.start("w", fence=5)
    executor.sleep("w", 5, 0, 1)
    clock.advance(20)

    assert executor.sleep("w", 5, 0, 1)["remaining"] == timedelta(0)


def test_step_of_another_kind_is_shown_by_its_name(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.checkpoint("w", 5, 0, name="step")
    found = executor.sleep("w", 5, 0, 1)

    assert (found["verdict"], found["name"], found["wake_at"], found["remaining"]) == ("existing", "step", None, None)


def test_lost_claim_and_cancellation(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.sleep("w", 5, 0, 1)
    assert executor.sleep("w", 4, 0, 1)["verdict"] == "fenced"

    value(executor.connection, "cancel_workflow", workflow_id="w")
    assert executor.sleep("w", 5, 0, 1)["verdict"] == "cancelled"
