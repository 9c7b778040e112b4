"""Batches of what a run records on its way (checkpoints, sleeps, failed attempts) against what else befalls the run.

Two batches, or a batch and its repeat, meet on keys as any two calls do: `test_lost_replies.py`. Takeovers:
`test_takeover.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.batching import (
    ATTEMPTS,
    CHECKPOINTS,
    SLEEPS,
    Batch,
    attempt_row,
    checkpoint_row,
    make_patient,
    many,
    one,
    sleep_row,
    written,
)
from plugins.executors import Connection, Executor, Row, outcome
from plugins.queueing import cancel
from plugins.sessions import wait_until_blocked

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]
InBackground = Callable[..., Future[Any]]


def row_of(batch: Batch[Any], executor: Executor, workflow_id: str, fence: int, place: int, mark: int = 0) -> Row:
    """A row for the step, or the attempt, of this number; `mark` tells whose it is."""
    if batch is ATTEMPTS:
        return attempt_row(executor, workflow_id, fence, place, error=bytes([mark]))
    if batch is SLEEPS:
        return sleep_row(executor, workflow_id, fence, place, duration=timedelta(seconds=60 + mark))
    return checkpoint_row(executor, workflow_id, fence, place, output=bytes([mark]))


def stored(connection: Connection, batch: Batch[Any]) -> list[tuple[str, int, int]]:
    """Workflow, number and mark of each."""
    if batch is ATTEMPTS:
        query = "select workflow_id, attempt, get_byte(error, 0) from pyengine.step_attempts"
    else:
        mark = "extract(epoch from wake_at - started_at)::int - 60" if batch is SLEEPS else "get_byte(output, 0)"
        query = f"select workflow_id, step_id, {mark} from pyengine.checkpoints"
    return sorted(connection.execute(query.encode()).fetchall())


def verdict(answer: Any) -> str:
    return answer if isinstance(answer, str) else str(answer.verdict)


every_kind = pytest.mark.parametrize(
    "batch", [CHECKPOINTS, SLEEPS, ATTEMPTS], ids=["checkpoints", "sleeps", "attempts"]
)


@pytest.fixture
def owner(new_executor: NewExecutor) -> Executor:
    """Runs `v` and `w`."""
    made = new_executor()
    made.start("v", fence=4)
    made.start("w", fence=5)
    return made


@pytest.fixture
def patient(session: Connection) -> Connection:
    """Batches wait for locks as long as it takes, so that the test can watch them; the observer of it all."""
    make_patient(session)
    return session


@every_kind
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_late_original_before_the_batch(
    owner: Executor,
    patient: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    batch: Batch[Any],
    ends: str,
) -> None:
    single, together = session_factory(autocommit=False), session_factory()
    one(single, batch, row_of(batch, owner, "w", 5, 2, mark=1))
    rows = [row_of(batch, owner, "w", 5, place, mark=2) for place in (3, 2, 1)]
    waiting = in_background(many, together, batch, rows)
    wait_until_blocked(patient, together, by=single)
    getattr(single, ends)()

    # A checkpoint has a value to be told; that a sleep or an attempt was stored is answered by the batch.
    assert waiting.result(30) == ([2] if batch is CHECKPOINTS and ends == "commit" else [])
    assert stored(patient, batch) == [("w", 1, 2), ("w", 2, 1 if ends == "commit" else 2), ("w", 3, 2)]


@every_kind
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_late_original_after_the_batch(
    owner: Executor,
    patient: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    batch: Batch[Any],
    ends: str,
) -> None:
    together, single = session_factory(autocommit=False), session_factory()
    assert many(together, batch, [row_of(batch, owner, "w", 5, place, mark=2) for place in (3, 2, 1)]) == []
    waiting = in_background(one, single, batch, row_of(batch, owner, "w", 5, 2, mark=1))
    wait_until_blocked(patient, single, by=together)
    getattr(together, ends)()

    has_found = ends == "commit"
    assert verdict(waiting.result(30)) == ("ok" if batch is ATTEMPTS else "existing" if has_found else "stored")
    assert stored(patient, batch) == ([("w", 1, 2), ("w", 2, 2), ("w", 3, 2)] if has_found else [("w", 2, 1)])


@every_kind
def test_an_original_that_stays_open_fails_the_batch_whole(
    owner: Executor, session_factory: NewSession, batch: Batch[Any]
) -> None:
    single = session_factory(autocommit=False)
    one(single, batch, row_of(batch, owner, "w", 5, 2))
    with pytest.raises(psycopg.errors.LockNotAvailable):
        many(owner.connection, batch, [row_of(batch, owner, "w", 5, place) for place in (1, 2, 3)])

    assert stored(owner.connection, batch) == []


@every_kind
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_batch_does_not_wait_for_a_cancellation_that_came_first(
    owner: Executor, session_factory: NewSession, batch: Batch[Any], ends: str
) -> None:
    user = session_factory(autocommit=False)
    assert cancel(user, "w") == "cancelled"
    rows = [row_of(batch, owner, *each, 1) for each in (("v", 4), ("w", 5))]
    assert many(owner.connection, batch, rows) == []
    getattr(user, ends)()

    later = [row_of(batch, owner, *each, 2) for each in (("v", 4), ("w", 5))]
    assert many(owner.connection, batch, later) == ([2] if ends == "commit" else [])
    if ends == "commit":
        assert verdict(one(owner.connection, batch, later[1])) == "cancelled"
    assert (outcome(user, "w") is None) is (ends == "rollback")


@every_kind
def test_a_cancellation_does_not_wait_for_a_batch_that_came_first(
    owner: Executor, session_factory: NewSession, batch: Batch[Any], healthy: None
) -> None:
    together, user = session_factory(autocommit=False), session_factory()
    rows = [row_of(batch, owner, *each, 1) for each in (("v", 4), ("w", 5))]
    assert many(together, batch, rows) == []
    assert cancel(user, "w") == "cancelled"
    together.commit()

    assert stored(user, batch) == [("v", 1, 0), ("w", 1, 0)]
    assert [each["status"] for each in written(user)["outcomes"]] == ["CANCELLED"]


@every_kind
def test_a_cancellation_while_the_batch_waits_for_another_row(
    owner: Executor,
    patient: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    batch: Batch[Any],
) -> None:
    """It saw the claim when it began; when it looks what became of its rows, the claim is over."""
    single, together = session_factory(autocommit=False), session_factory()
    one(single, batch, row_of(batch, owner, "w", 5, 2, mark=1))
    rows = [row_of(batch, owner, *each, mark=2) for each in (("v", 4, 1), ("w", 5, 1), ("w", 5, 2))]
    waiting = in_background(many, together, batch, rows)
    wait_until_blocked(patient, together, by=single)
    assert cancel(patient, "w") == "cancelled"
    single.commit()

    assert waiting.result(30) == [2, 3]
    assert {verdict(one(patient, batch, row)) for row in rows[1:]} == {"cancelled"}
    assert stored(patient, batch) == [("v", 1, 2), ("w", 1, 2), ("w", 2, 1)]


@every_kind
def test_batches_of_the_same_rows_in_opposite_orders_wait_for_each_other_once(
    owner: Executor,
    patient: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    batch: Batch[Any],
) -> None:
    claims = [(name, fence, place) for name, fence in (("v", 4), ("w", 5)) for place in (1, 2)]
    first, second = session_factory(autocommit=False), session_factory()
    assert many(first, batch, [row_of(batch, owner, *each, mark=1) for each in claims]) == []
    waiting = in_background(many, second, batch, [row_of(batch, owner, *each, mark=2) for each in claims[::-1]])
    wait_until_blocked(patient, second, by=first)
    first.commit()

    assert sorted(waiting.result(30)) == ([1, 2, 3, 4] if batch is CHECKPOINTS else [])
    assert {mark for *_, mark in stored(patient, batch)} == {1}
