from __future__ import annotations

from datetime import timedelta

from plugins.clock import Clock
from plugins.executors import Executor, in_flight, outcome, put_in_flight, value


def test_overdue_workflows_are_cancelled_wherever_they_are(executor: Executor, clock: Clock) -> None:
    soon = executor.tick()["server_time"] + timedelta(seconds=5)
    executor.start("running", fence=5, timeout=timedelta(seconds=5))
    executor.start("unhurried", timeout=timedelta(hours=1))
    put_in_flight(executor.connection, "enqueued", deadline=soon)
    put_in_flight(executor.connection, "delayed", deadline=soon, status="DELAYED", run_at=soon)
    assert value(executor.connection, "expire_deadlines", limit=10) == 0
    clock.advance(6)

    assert value(executor.connection, "expire_deadlines", limit=10) == 3
    for workflow_id in ("running", "enqueued", "delayed"):
        ended = outcome(executor.connection, workflow_id)
        assert ended is not None
        assert ended["status"] == "CANCELLED"
    assert in_flight(executor.connection, "unhurried") is not None
    assert executor.finish("running", 5) == "cancelled"


def test_the_run_is_told(executor: Executor, clock: Clock) -> None:
    executor.start("w", fence=5, timeout=timedelta(seconds=5))
    clock.advance(6)
    value(executor.connection, "expire_deadlines", limit=10)
    ticked = executor.tick()

    assert (ticked["interrupted_ids"], ticked["interrupted_reasons"]) == (["w"], ["deadline"])


def test_bounded(executor: Executor) -> None:
    for number in range(3):
        put_in_flight(executor.connection, f"w{number}", deadline="2000-01-01")

    assert [value(executor.connection, "expire_deadlines", limit=2) for _ in range(3)] == [2, 1, 0]
