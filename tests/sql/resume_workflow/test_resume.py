from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from plugins.executors import Executor, in_flight, outcome
from plugins.queueing import cancel, claim, claim_rows, enqueue, put_queue, resume

INTERNAL = "_dbos_internal_queue"


def test_a_cancelled_workflow_starts_afresh(executor: Executor, healthy: None) -> None:
    executor.start("w", fence=5, timeout=timedelta(hours=1), deadline="2100-01-01")
    executor.checkpoint("w", 5, 1)
    cancel(executor.connection, "w")

    assert resume(executor.connection, "w") == "resumed"
    assert outcome(executor.connection, "w") is None
    waiting = in_flight(executor.connection, "w")
    assert waiting is not None
    assert (waiting["status"], waiting["queue"], waiting["app_version"]) == ("ENQUEUED", INTERNAL, "v1")
    assert (waiting["attempts"], waiting["crashes"], waiting["replay"]) == (0, 0, True)
    assert (waiting["timeout"], waiting["deadline"]) == (None, None)
    (found,) = claim_rows(executor, INTERNAL, fence=6)
    assert (found["replay"], found["attempts"], found["deadline"]) == (True, 1, None)


def test_the_run_before_is_fenced(executor: Executor) -> None:
    executor.start("w", fence=5)
    cancel(executor.connection, "w")
    resume(executor.connection, "w")
    claim(executor, INTERNAL, fence=6)

    assert executor.checkpoint("w", 5, 1)["verdict"] == "fenced"
    assert executor.finish("w", 5) == "fenced"
    assert executor.finish("w", 6) == "ok"


def test_an_exhausted_workflow_can_be_resumed(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.finish("w", 5, "ERROR")
    executor.connection.execute("update pyengine.outcomes set status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'")

    assert resume(executor.connection, "w", "q") == "resumed"
    assert claim(executor, "q") == ["w"]


def test_what_waits_leaves_its_queue_and_its_key(executor: Executor) -> None:
    enqueue(executor.connection, "later", delay=timedelta(hours=1), deduplication_id="k")

    assert resume(executor.connection, "later") == "resumed"
    assert claim(executor, INTERNAL) == ["later"]
    assert enqueue(executor.connection, "next", deduplication_id="k")["verdict"] == "yours"


def test_running_finished_and_unknown_are_left_alone(executor: Executor) -> None:
    executor.start("running", fence=5)
    executor.start("done", fence=6)
    executor.finish("done", 6)

    found = [resume(executor.connection, workflow_id) for workflow_id in ("running", "done", "nobody")]
    assert found == ["running", "finished", "unknown"]


def test_on_a_partitioned_queue_it_keeps_its_partition(executor: Executor, healthy: None) -> None:
    put_queue(executor.connection, is_partitioned=True)
    enqueue(executor.connection, "w", partition_key="a")
    enqueue(executor.connection, "keyless", queue="other")
    for workflow_id in ("w", "keyless"):
        cancel(executor.connection, workflow_id)

    assert resume(executor.connection, "w", "q") == "resumed"
    with pytest.raises(psycopg.Error) as refused:
        resume(executor.connection, "keyless", "q")
    assert refused.value.sqlstate == "WF101"
    assert claim(executor, "q") == ["w"]
