from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from plugins.executors import Executor, in_flight, outcome, value


def test_row_goes_and_outcome_comes(executor: Executor) -> None:
    executor.start("w", fence=5)

    assert executor.finish("w", 5, output=b"j9") == "ok"
    assert in_flight(executor.connection, "w") is None
    stored = outcome(executor.connection, "w")
    assert stored is not None
    assert (stored["status"], stored["output"], stored["fence"], stored["executor_id"]) == (
        "SUCCESS",
        b"j9",
        5,
        executor.id,
    )


def test_repeat_is_ok_and_changes_nothing(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.finish("w", 5, output=b"j1")

    assert executor.finish("w", 5, output=b"j2") == "ok"
    stored = outcome(executor.connection, "w")
    assert stored is not None
    assert stored["output"] == b"j1"


def test_another_status_under_the_same_fence_is_no_repeat(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.finish("w", 5, "SUCCESS")

    assert executor.finish("w", 5, "ERROR") == "fenced"


def test_only_the_engine_gives_up_and_cancels(executor: Executor) -> None:
    executor.start("w", fence=5)
    with pytest.raises(psycopg.Error, match="neither SUCCESS nor ERROR") as refused:
        executor.finish("w", 5, "CANCELLED")

    assert refused.value.sqlstate == "WF101"
    assert in_flight(executor.connection, "w") is not None


def test_lost_claim(executor: Executor) -> None:
    executor.start("w", fence=5)

    assert executor.finish("w", 4) == "fenced"
    assert executor.finish("unknown", 4) == "fenced"


def test_cancelled_meanwhile(executor: Executor) -> None:
    executor.start("w", fence=5)
    value(executor.connection, "cancel_workflow", workflow_id="w")

    assert executor.finish("w", 5) == "cancelled"


def test_finished_by_the_next_owner(new_executor: Callable[..., Executor]) -> None:
    old, new = new_executor(), new_executor()
    old.start("w", fence=5)
    old.connection.execute("update pyengine.in_flight set executor_id = %s, fence = 6", (new.id,))
    new.finish("w", 6)

    assert old.finish("w", 5) == "fenced"
