from __future__ import annotations

from typing import Any

from plugins.executors import Executor, rows


def steps(executor: Executor, **arguments: Any) -> list[dict[str, Any]]:
    given = {"workflow_id": "w", "load_output": True, "limit": None, "offset": None}
    return rows(executor.connection, "list_steps", **(given | arguments))


def test_steps_in_order_with_their_results(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.checkpoint("w", 5, 2, name="second", output=None, error=b"e")
    executor.checkpoint("w", 5, 1, name="first", output=b"j1")
    executor.start_child("c", "w", 5, 3)
    found = steps(executor)

    assert [(step["step_id"], step["name"]) for step in found] == [(1, "first"), (2, "second"), (3, "child")]
    assert [(step["output"], step["error"], step["child_id"]) for step in found] == [
        (b"j1", None, None), (None, b"e", None), (None, None, "c"),
    ]  # fmt: skip
    assert all(step["completed_at_ms"] >= step["started_at_ms"] > 0 for step in found)


def test_pages_and_bare_rows(executor: Executor) -> None:
    executor.start("w", fence=5)
    for step_id in (1, 2, 3):
        executor.checkpoint("w", 5, step_id)

    assert [step["step_id"] for step in steps(executor, limit=1, offset=1)] == [2]
    assert steps(executor, load_output=False)[0]["output"] is None
    assert steps(executor, workflow_id="nobody") == []
