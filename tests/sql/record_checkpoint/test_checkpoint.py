from __future__ import annotations

from datetime import timedelta

import pytest

from plugins.executors import Executor, read, rows, value


@pytest.fixture
def running(executor: Executor) -> Executor:
    executor.start("w", fence=5)
    return executor


def test_first_result_is_stored(running: Executor) -> None:
    assert running.checkpoint("w", 5, 0, output=b"j1", elapsed=timedelta(seconds=3))["verdict"] == "stored"
    stored = read(running.connection, "select completed_at - started_at as took, output from pyengine.checkpoints")
    assert stored == [{"took": timedelta(seconds=3), "output": b"j1"}]


def test_second_result_is_answered_with_the_first(running: Executor) -> None:
    running.checkpoint("w", 5, 0, name="first", output=b"j1")
    again = running.checkpoint("w", 5, 0, name="second", output=b"j2")

    assert (again["verdict"], again["name"], again["output"]) == ("existing", "first", b"j1")


def test_fenced_comes_before_existing(running: Executor) -> None:
    running.checkpoint("w", 5, 0)
    late = running.checkpoint("w", 4, 0)

    assert (late["verdict"], late["output"]) == ("fenced", None)


def test_cancelled_workflow_takes_no_more(running: Executor) -> None:
    value(running.connection, "cancel_workflow", workflow_id="w")

    assert running.checkpoint("w", 5, 0)["verdict"] == "cancelled"


@pytest.mark.parametrize("workflow_id", ["w", "unknown"])
def test_finished_or_unknown_workflow_is_fenced(running: Executor, workflow_id: str) -> None:
    running.finish("w", 5)

    assert running.checkpoint(workflow_id, 5, 0)["verdict"] == "fenced"


def test_loaded_in_step_order_with_attempts(running: Executor) -> None:
    running.checkpoint("w", 5, 1, name="b", output=b"2")
    running.checkpoint("w", 5, 0, name="a", output=None, error=b"1")
    running.attempt("w", 5, 1, 1, b"x")
    running.attempt("w", 5, 2, 2, b"z")
    running.attempt("w", 5, 2, 1, b"y")
    loaded = rows(running.connection, "load_checkpoints", workflow_id="w")

    assert [(found["step_id"], found["name"], found["attempt_errors"]) for found in loaded] == [
        (0, "a", None),
        (1, "b", [b"x"]),
        (2, None, [b"y", b"z"]),
    ]
