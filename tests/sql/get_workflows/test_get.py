from __future__ import annotations

from plugins.executors import Executor, read, rows
from plugins.queueing import enqueue


def test_status_and_payloads_of_the_given_workflows(executor: Executor) -> None:
    enqueue(executor.connection, "waits", inputs=b"j1", priority=2)
    executor.start("done", fence=5)
    executor.finish("done", 5, "ERROR", output=None, error=b"e")
    found = {each["workflow_id"]: each for each in rows(
        executor.connection, "get_workflows", workflow_ids=["waits", "done", "nobody"]
    )}  # fmt: skip

    assert set(found) == {"waits", "done"}
    assert (found["waits"]["status"], found["waits"]["input"], found["waits"]["priority"]) == ("ENQUEUED", b"j1", 2)
    assert (found["done"]["status"], found["done"]["error"], found["done"]["queue_name"]) == ("ERROR", b"e", None)
    assert found["done"]["dequeued_at_ms"] is None


def test_the_function_returns_what_the_view_has(executor: Executor) -> None:
    executor.start("w", fence=5)
    through_the_function = rows(executor.connection, "get_workflows", workflow_ids=["w"])

    assert read(executor.connection, "select * from pyengine.workflow_status") == through_the_function
