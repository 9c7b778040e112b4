from __future__ import annotations

from plugins.executors import Executor, rows
from plugins.queueing import cancel, enqueue


def test_only_what_has_ended(executor: Executor) -> None:
    executor.start("done", fence=5)
    executor.finish("done", 5)
    enqueue(executor.connection, "cancelled")
    cancel(executor.connection, "cancelled")
    enqueue(executor.connection, "waits")
    found = rows(executor.connection, "read_outcomes", workflow_ids=["done", "cancelled", "waits", "nobody"])

    assert {each["workflow_id"]: (each["status"], each["output"]) for each in found} == {
        "done": ("SUCCESS", b"j2"),
        "cancelled": ("CANCELLED", None),
    }
