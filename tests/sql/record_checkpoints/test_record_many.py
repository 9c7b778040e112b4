from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from plugins.batching import CHECKPOINTS, checkpoint_row, freeze_clock, many, one, written
from plugins.executors import Executor, Row, read
from plugins.queueing import cancel, claim, resume

KINDS: dict[str, Row] = {
    "output": {"output": b"\x00\xffbytes"},
    "empty output": {"output": b""},
    "no output": {"output": None},
    "error": {"output": None, "error": b"e"},
    "child": {"output": None, "child_id": "w-1"},
    "elapsed": {"elapsed": timedelta(seconds=1.234567)},
    "name": {"name": "grüße"},
    "largest step": {"step_id": 2**31 - 1},
}


def outputs(executor: Executor) -> list[tuple[str, int, bytes]]:
    found = read(executor.connection, "select workflow_id, step_id, output from pyengine.checkpoints order by 1, 2")
    return [(each["workflow_id"], each["step_id"], each["output"]) for each in found]


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_lands_as_the_function_for_one_lands_it(executor: Executor, kind: str) -> None:
    connection = executor.connection
    freeze_clock(connection)
    executor.start("w", fence=5)
    row = checkpoint_row(executor, "w", 5, **({"step_id": 1} | KINDS[kind]))
    assert many(connection, CHECKPOINTS, [row]) == []
    together = written(connection)
    connection.execute("delete from pyengine.checkpoints")

    assert one(connection, CHECKPOINTS, row) == CHECKPOINTS.done(row, [])
    assert together == written(connection)


def test_rows_of_all_kinds_land_as_the_function_for_one_lands_them(executor: Executor) -> None:
    connection = executor.connection
    freeze_clock(connection)
    executor.start("w", fence=5)
    executor.start("v", fence=6)
    rows = [
        checkpoint_row(executor, *(("w", 5), ("v", 6))[place % 2], **({"step_id": place} | KINDS[kind]))
        for place, kind in enumerate(KINDS)
    ]
    assert many(connection, CHECKPOINTS, rows) == []
    together = written(connection)
    connection.execute("delete from pyengine.checkpoints")

    assert {one(connection, CHECKPOINTS, row).verdict for row in rows} == {"stored"}
    assert together == written(connection)


def test_a_repeat_is_left_over_whole_and_finds_what_was_stored(executor: Executor) -> None:
    executor.start("w", fence=5)
    rows = [checkpoint_row(executor, "w", 5, step_id) for step_id in (2, 1)]
    assert many(executor.connection, CHECKPOINTS, rows) == []

    assert many(executor.connection, CHECKPOINTS, rows) == [1, 2]
    assert one(executor.connection, CHECKPOINTS, rows[0] | {"output": b"new"})[::2] == ("existing", b"j1", None)


def test_a_step_stored_before_is_left_over_and_the_others_stored(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.checkpoint("w", 5, 2, output=b"first")
    rows = [checkpoint_row(executor, "w", 5, step_id, output=b"new") for step_id in (1, 2, 3)]

    assert many(executor.connection, CHECKPOINTS, rows) == [2]
    assert outputs(executor) == [("w", 1, b"new"), ("w", 2, b"first"), ("w", 3, b"new")]


def test_lost_claims_are_left_over(executor: Executor) -> None:
    for place, workflow_id in enumerate(("w", "lost", "cancelled"), 5):
        executor.start(workflow_id, fence=place)
    cancel(executor.connection, "cancelled")
    rows = [checkpoint_row(executor, *each) for each in (("w", 5), ("lost", 99), ("cancelled", 7), ("unknown", 5))]

    assert many(executor.connection, CHECKPOINTS, rows) == [2, 3, 4]
    verdicts = [one(executor.connection, CHECKPOINTS, row).verdict for row in rows[1:]]
    assert verdicts == ["fenced", "cancelled", "fenced"]


@pytest.mark.parametrize("is_first", [True, False])
def test_two_runs_of_one_workflow_in_one_process_are_told_apart(executor: Executor, is_first: bool) -> None:
    """Cancelled, resumed and claimed again here, while the old run is still in its last step."""
    executor.start("w", fence=5)
    cancel(executor.connection, "w")
    resume(executor.connection, "w", "q")
    assert claim(executor, fence=6) == ["w"]
    rows = [checkpoint_row(executor, "w", fence, output=bytes([fence])) for fence in ((5, 6) if is_first else (6, 5))]

    assert many(executor.connection, CHECKPOINTS, rows) == [1 if is_first else 2]
    assert outputs(executor) == [("w", 1, b"\x06")]


def test_of_two_rows_for_one_step_the_first_is_stored(executor: Executor) -> None:
    executor.start("w", fence=5)
    rows = [checkpoint_row(executor, "w", 5, output=output) for output in (b"b", b"a", b"c")]

    assert many(executor.connection, CHECKPOINTS, rows) == [2, 3]
    assert outputs(executor) == [("w", 1, b"b")]


def test_a_fenced_executor_stores_nothing(new_executor: Callable[..., Executor]) -> None:
    executor, other = new_executor(), new_executor()
    executor.start("w", fence=5)
    other.mark_dead(executor)
    with pytest.raises(psycopg.Error) as refused:
        many(executor.connection, CHECKPOINTS, [checkpoint_row(executor, "w", 5, step_id) for step_id in (1, 2)])

    assert refused.value.sqlstate == "WF001"
    assert outputs(executor) == []


def test_a_time_that_is_unknown_counts_as_none(executor: Executor) -> None:
    """The function takes it, though the engine always knows."""
    executor.start("w", fence=5)
    executor.connection.execute(
        "select pyengine.record_checkpoints(%s, %s, array['w'], array[5]::bigint[], array[1], array['step'],"
        " array['x'::bytea], null, null, null)",
        (executor.id, executor.nonce),
    )

    found = read(executor.connection, "select started_at = completed_at as is_so from pyengine.checkpoints")
    assert found == [{"is_so": True}]
