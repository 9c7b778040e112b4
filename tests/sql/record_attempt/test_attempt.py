from __future__ import annotations

from plugins.executors import Executor, read, value


def test_repeat_keeps_the_first_error(executor: Executor) -> None:
    executor.start("w", fence=5)

    assert executor.attempt("w", 5, 0, 1, b"first") == "ok"
    assert executor.attempt("w", 5, 0, 1, b"second") == "ok"
    assert read(executor.connection, "select error from pyengine.step_attempts") == [{"error": b"first"}]


def test_lost_claim_and_cancellation(executor: Executor) -> None:
    executor.start("w", fence=5)

    assert executor.attempt("w", 4, 0, 1) == "fenced"
    value(executor.connection, "cancel_workflow", workflow_id="w")
    assert executor.attempt("w", 5, 0, 1) == "cancelled"
