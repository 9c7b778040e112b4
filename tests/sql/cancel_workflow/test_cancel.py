from __future__ import annotations

from plugins.executors import Executor, outcome, read
from plugins.queueing import cancel, claim, enqueue


def test_what_waits_is_cancelled_and_keeps_what_status_reads_need(executor: Executor, healthy: None) -> None:
    enqueue(executor.connection, "w", priority=4, deduplication_id="k")

    assert cancel(executor.connection, "w") == "cancelled"
    ended = outcome(executor.connection, "w")
    assert ended is not None
    assert (ended["status"], ended["priority"], ended["deduplication_id"]) == ("CANCELLED", 4, "k")
    assert read(executor.connection, "select * from pyengine.interrupts") == []


def test_a_running_workflow_is_interrupted(executor: Executor) -> None:
    enqueue(executor.connection, "w")
    claim(executor, fence=5)
    cancel(executor.connection, "w")
    told = executor.beat(5)

    assert (told["interrupted_ids"], told["interrupted_fences"]) == (["w"], [5])
    assert told["interrupted_reasons"] == ["cancelled"]
    assert executor.finish("w", 5) == "cancelled"
    assert executor.checkpoint("w", 5, 1)["verdict"] == "cancelled"


def test_repeated_finished_and_unknown(executor: Executor) -> None:
    executor.start("done", fence=5)
    executor.finish("done", 5)
    enqueue(executor.connection, "w")
    cancel(executor.connection, "w")

    found = [cancel(executor.connection, workflow_id) for workflow_id in ("w", "done", "nobody")]
    assert found == ["finished", "finished", "unknown"]
