from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from plugins.batching import ATTEMPTS, attempt_row, freeze_clock, many, one, written
from plugins.executors import Executor, Row, read
from plugins.queueing import cancel, claim, resume

KINDS: dict[str, Row] = {
    "error": {"error": b"\x00\xffbytes"},
    "empty error": {"error": b""},
    "no error": {"error": None},
    "later attempt": {"attempt": 7},
    "largest numbers": {"step_id": 2**31 - 1, "attempt": 2**31 - 1},
}


def errors(executor: Executor) -> list[tuple[str, int, bytes]]:
    found = read(executor.connection, "select workflow_id, attempt, error from pyengine.step_attempts order by 1, 2")
    return [(each["workflow_id"], each["attempt"], each["error"]) for each in found]


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_lands_as_the_function_for_one_lands_it(executor: Executor, kind: str) -> None:
    connection = executor.connection
    freeze_clock(connection)
    executor.start("w", fence=5)
    row = attempt_row(executor, "w", 5, **({"attempt": 1} | KINDS[kind]))
    assert many(connection, ATTEMPTS, [row]) == []
    together = written(connection)
    connection.execute("delete from pyengine.step_attempts")

    assert one(connection, ATTEMPTS, row) == ATTEMPTS.done(row, []) == "ok"
    assert together == written(connection)


def test_rows_of_all_kinds_land_as_the_function_for_one_lands_them(executor: Executor) -> None:
    connection = executor.connection
    freeze_clock(connection)
    executor.start("w", fence=5)
    executor.start("v", fence=6)
    rows = [
        attempt_row(executor, *(("w", 5), ("v", 6))[place % 2], **({"attempt": place} | KINDS[kind]))
        for place, kind in enumerate(KINDS)
    ]
    assert many(connection, ATTEMPTS, rows) == []
    together = written(connection)
    connection.execute("delete from pyengine.step_attempts")

    assert {one(connection, ATTEMPTS, row) for row in rows} == {"ok"}
    assert together == written(connection)


def test_a_repeat_is_done_and_keeps_the_first_errors(executor: Executor) -> None:
    executor.start("w", fence=5)
    rows = [attempt_row(executor, "w", 5, attempt) for attempt in (2, 1)]
    assert many(executor.connection, ATTEMPTS, rows) == []

    assert many(executor.connection, ATTEMPTS, [row | {"error": b"new"} for row in rows]) == []
    assert errors(executor) == [("w", 1, b"e"), ("w", 2, b"e")]


def test_an_attempt_remembered_before_keeps_its_error_and_the_others_are_stored(executor: Executor) -> None:
    """As when a supervisor has recorded the attempt that its process was killed in."""
    executor.start("w", fence=5)
    executor.attempt("w", 5, 1, 2, b"killed")
    rows = [attempt_row(executor, "w", 5, attempt, error=b"new") for attempt in (1, 2, 3)]

    assert many(executor.connection, ATTEMPTS, rows) == []
    assert errors(executor) == [("w", 1, b"new"), ("w", 2, b"killed"), ("w", 3, b"new")]


def test_of_two_rows_for_one_attempt_the_first_is_stored(executor: Executor) -> None:
    executor.start("w", fence=5)
    rows = [attempt_row(executor, "w", 5, error=error) for error in (b"b", b"a", b"c")]

    assert many(executor.connection, ATTEMPTS, rows) == []
    assert errors(executor) == [("w", 1, b"b")]


def test_lost_claims_are_left_over_also_where_the_attempt_is_stored(executor: Executor) -> None:
    for place, workflow_id in enumerate(("w", "lost", "cancelled"), 5):
        executor.start(workflow_id, fence=place)
        executor.attempt(workflow_id, place, 1, 1)
    cancel(executor.connection, "cancelled")
    claims = (("w", 5), ("lost", 99), ("cancelled", 7), ("unknown", 5))
    rows = [attempt_row(executor, *each, attempt) for each in claims for attempt in (1, 2)]

    assert many(executor.connection, ATTEMPTS, rows) == [3, 4, 5, 6, 7, 8]
    verdicts = [one(executor.connection, ATTEMPTS, row) for row in rows[2:]]
    assert verdicts == ["fenced", "fenced", "cancelled", "cancelled", "fenced", "fenced"]


@pytest.mark.parametrize("is_first", [True, False])
def test_two_runs_of_one_workflow_in_one_process_are_told_apart(executor: Executor, is_first: bool) -> None:
    """Cancelled, resumed and claimed again here, while a step of the old run still fails."""
    executor.start("w", fence=5)
    cancel(executor.connection, "w")
    resume(executor.connection, "w", "q")
    assert claim(executor, fence=6) == ["w"]
    fences = (5, 6) if is_first else (6, 5)
    rows = [attempt_row(executor, "w", fence, error=bytes([fence])) for fence in fences]

    assert many(executor.connection, ATTEMPTS, rows) == [1 if is_first else 2]
    assert errors(executor) == [("w", 1, b"\x06")]


def test_a_dead_executor_remembers_nothing(new_executor: Callable[..., Executor]) -> None:
    executor, other = new_executor(), new_executor()
    executor.start("w", fence=5)
    other.mark_dead(executor)
    with pytest.raises(psycopg.Error) as refused:
        many(executor.connection, ATTEMPTS, [attempt_row(executor, "w", 5, attempt) for attempt in (1, 2)])

    assert refused.value.sqlstate == "WF001"
    assert errors(executor) == []
