from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from plugins.batching import FINISHES, finish_row, freeze_clock, many, one, written
from plugins.executors import Executor, Row, outcome, read
from plugins.queueing import cancel, claim, enqueue, put_queue, resume

KINDS: dict[str, Row] = {
    "output": {"output": b"\x00\xffbytes"},
    "empty output": {"output": b""},
    "nothing": {"output": None},
    "error": {"status": "ERROR", "output": None, "error": b"e"},
}


def prepare(executor: Executor) -> None:
    """Workflows of every origin, with something in every column that an outcome keeps; `kn` runs under fence n."""
    connection = executor.connection
    freeze_clock(connection)
    put_queue(connection, "parts", is_partitioned=True)
    executor.start("k0", fence=100, timeout=timedelta(minutes=1), max_recovery_attempts=3)
    given = {
        "priority": 4,
        "deduplication_id": "k",
        "delay": timedelta(0),
        "app_version": None,
        "timeout": timedelta(1),
    }
    enqueue(connection, "k1", **given)
    enqueue(connection, "k2", queue="parts", partition_key="red")
    executor.start("k3", fence=103)
    for fence, queue in ((101, "q"), (102, "parts")):
        assert len(claim(executor, queue, fence=fence)) == 1
    connection.execute("update pyengine.in_flight set crashes = 1, token_floor = 7, attempts = 2 where fence = 103")


def rows_of(executor: Executor) -> list[Row]:
    return [finish_row(executor, f"k{place}", 100 + place, **KINDS[kind]) for place, kind in enumerate(KINDS)]


def test_rows_land_as_the_function_for_one_lands_them(executor: Executor, healthy: None) -> None:
    connection = executor.connection
    ended = []
    for way in ("together", "one by one", "alone"):
        prepare(executor)
        rows = rows_of(executor)
        if way == "together":
            assert many(connection, FINISHES, rows) == []
        elif way == "one by one":
            assert [many(connection, FINISHES, [row]) for row in rows] == [[]] * len(rows)
        else:
            assert {one(connection, FINISHES, row) for row in rows} == {"ok"}
        found = written(connection)
        ended.append(found["outcomes"])
        assert found["in_flight"] == []
        connection.execute("truncate pyengine.workflows, pyengine.outcomes, pyengine.lanes")

    assert ended[0] == ended[1] == ended[2]


def test_a_repeat_is_left_over_whole_and_ok(executor: Executor) -> None:
    prepare(executor)
    rows = rows_of(executor)
    assert many(executor.connection, FINISHES, rows) == []
    before = written(executor.connection)

    assert many(executor.connection, FINISHES, rows) == [1, 2, 3, 4]
    assert written(executor.connection) == before
    assert {one(executor.connection, FINISHES, row) for row in rows} == {"ok"}


def test_lost_claims_are_left_over_and_the_others_end(executor: Executor, healthy: None) -> None:
    for place, workflow_id in enumerate(("w", "lost", "cancelled"), 5):
        executor.start(workflow_id, fence=place)
    cancel(executor.connection, "cancelled")
    rows = [finish_row(executor, *each) for each in (("cancelled", 7), ("unknown", 5), ("w", 5), ("lost", 99))]

    assert many(executor.connection, FINISHES, rows) == [1, 2, 4]
    assert [one(executor.connection, FINISHES, row) for row in rows] == ["cancelled", "fenced", "ok", "fenced"]


@pytest.mark.parametrize("is_first", [True, False])
def test_two_runs_of_one_workflow_in_one_process_are_told_apart(executor: Executor, is_first: bool) -> None:
    """Cancelled, resumed and claimed again here, while the old run is still in its last step."""
    executor.start("w", fence=5)
    cancel(executor.connection, "w")
    resume(executor.connection, "w", "q")
    assert claim(executor, fence=6) == ["w"]
    rows = [finish_row(executor, "w", fence, output=bytes([fence])) for fence in ((5, 6) if is_first else (6, 5))]

    assert many(executor.connection, FINISHES, rows) == [1 if is_first else 2]
    ended = outcome(executor.connection, "w")
    assert ended is not None
    assert ended["output"] == b"\x06"


def test_of_two_rows_for_one_workflow_the_first_counts(executor: Executor, healthy: None) -> None:
    executor.start("w", fence=5)
    rows = [finish_row(executor, "w", 5), finish_row(executor, "w", 5, status="ERROR", output=None, error=b"e")]

    assert many(executor.connection, FINISHES, rows) == [2]
    assert one(executor.connection, FINISHES, rows[1]) == "fenced"


def test_a_fenced_executor_ends_nothing(new_executor: Callable[..., Executor]) -> None:
    executor, other = new_executor(), new_executor()
    executor.start("w", fence=5)
    executor.start("v", fence=6)
    other.mark_dead(executor)
    with pytest.raises(psycopg.Error) as refused:
        many(executor.connection, FINISHES, [finish_row(executor, "w", 5), finish_row(executor, "v", 6)])

    assert refused.value.sqlstate == "WF001"
    assert read(executor.connection, "select * from pyengine.outcomes") == []


def test_an_unknown_status_fails_the_batch(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.start("v", fence=6)
    with pytest.raises(psycopg.Error, match="neither SUCCESS nor ERROR") as refused:
        many(executor.connection, FINISHES, [finish_row(executor, "w", 5), finish_row(executor, "v", 6, status="X")])

    assert refused.value.sqlstate == "WF101"
    assert read(executor.connection, "select * from pyengine.outcomes") == []
