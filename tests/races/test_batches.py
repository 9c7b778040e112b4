"""Batches against each other, against single calls, and against somebody's open transaction.

Checkpoints, sleeps and attempts: `test_batched_steps.py`. What a batch and its repeat, or a takeover, do to each other:
`test_lost_replies.py`, `test_takeover.py`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.batching import (
    ENQUEUES,
    FINISHES,
    STARTS,
    Batch,
    enqueue_row,
    finish_row,
    make_patient,
    many,
    one,
    parent_of,
    start_row,
    written,
)
from plugins.executors import Connection, Executor, Row, outcome
from plugins.queueing import cancel, claim, enqueue, put_queue
from plugins.replies import twin
from plugins.sessions import wait_until_blocked

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]
InBackground = Callable[..., Future[Any]]


@pytest.fixture
def owner(new_executor: NewExecutor) -> Executor:
    return new_executor()


@pytest.fixture
def patient(session: Connection) -> Connection:
    """Batches wait for locks as long as it takes, so that the test can watch them; the observer of it all."""
    make_patient(session)
    return session


def keyed(executor: Executor, user: str, keys: Sequence[str]) -> list[Row]:
    return [enqueue_row(executor, f"{user}-{key}", deduplication_id=key) for key in keys]


# -- deduplication keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("abc", "cba"), ("cab", "bca"), ("cba", "xcb")])
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_batches_that_ask_for_the_same_keys_in_any_order_wait_for_each_other_once(
    owner: Executor,
    patient: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    first: str,
    second: str,
    ends: str,
) -> None:
    one_, two = session_factory(autocommit=False), session_factory()
    assert many(one_, ENQUEUES, keyed(owner, "one", first)) == []
    waiting = in_background(many, two, ENQUEUES, keyed(owner, "two", second))
    wait_until_blocked(patient, two, by=one_)
    getattr(one_, ends)()

    held = [place for place, key in enumerate(second, 1) if key in first]
    assert sorted(waiting.result(30)) == (held if ends == "commit" else [])
    found = {each["workflow_id"] for each in written(patient)["workflows"]}
    assert found == {each["workflow_id"] for each in written(patient)["in_flight"]}
    assert len(found) == (len(set(first + second)) if ends == "commit" else len(second))


def test_a_storm_of_keys_and_ids_in_any_order_knows_no_deadlock(
    new_executor: NewExecutor, patient: Connection, in_background: InBackground, healthy: None
) -> None:
    """Keys are freed meanwhile by batches of finishes; ids are asked for by all."""
    executors = [new_executor() for _ in range(4)]
    together = threading.Barrier(len(executors))

    def work(place: int) -> tuple[int, int]:
        executor, chance, taken, ended = executors[place], random.Random(place), 0, 0
        together.wait()
        for turn in range(40):
            rows = keyed(executor, f"{place}-{turn}", chance.sample("abcdefgh", 6))
            rows += [enqueue_row(executor, f"common-{each}") for each in chance.sample(range(40), 5)]
            chance.shuffle(rows)
            taken += len(rows) - len(many(executor.connection, ENQUEUES, rows))
            fence = 1 + place * 1000 + turn
            found = [each for each in claim(executor, limit=5, fence=fence) if each != "busy"]
            chance.shuffle(found)
            ends = [finish_row(executor, each, fence) for each in found]
            if ends:
                assert many(executor.connection, FINISHES, ends) == []
            ended += len(ends)
        return taken, ended

    results = [each.result(120) for each in [in_background(work, place) for place in range(len(executors))]]
    stored = written(patient)
    assert sum(taken for taken, _ in results) == len(stored["workflows"])
    assert sum(ended for _, ended in results) == len(stored["outcomes"])


# -- ids -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [STARTS, ENQUEUES], ids=["starts", "enqueues"])
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_an_id_in_somebodys_open_transaction_fails_the_batch_and_leaves_nothing(
    owner: Executor, session_factory: NewSession, batch: Batch[Any], ends: str
) -> None:
    make = start_row if batch is STARTS else enqueue_row
    user, observer = session_factory(autocommit=False), session_factory()
    enqueue(user, "b")
    rows = [make(owner, each) for each in "abc"]

    with pytest.raises(psycopg.errors.LockNotAvailable):
        many(owner.connection, batch, rows)
    assert written(observer)["workflows"] == []
    getattr(user, ends)()
    assert many(owner.connection, batch, rows) == ([2] if ends == "commit" else [])


@pytest.mark.parametrize("batch", [STARTS, ENQUEUES], ids=["starts", "enqueues"])
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_batches_of_the_same_ids_in_any_order_wait_for_each_other_once(
    owner: Executor,
    patient: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    batch: Batch[Any],
    ends: str,
) -> None:
    make = start_row if batch is STARTS else enqueue_row
    one_, two = session_factory(autocommit=False), session_factory()
    assert many(one_, batch, [make(owner, each) for each in "cab"]) == []
    waiting = in_background(many, two, batch, [make(owner, each) for each in "bdac"])
    wait_until_blocked(patient, two, by=one_)
    getattr(one_, ends)()

    assert waiting.result(30) == ([1, 3, 4] if ends == "commit" else [])


def test_a_batch_before_a_single_call_for_one_of_its_ids(
    owner: Executor, patient: Connection, session_factory: NewSession, in_background: InBackground
) -> None:
    batch, single = session_factory(autocommit=False), session_factory()
    assert many(batch, STARTS, [start_row(owner, each) for each in "ab"]) == []
    waiting = in_background(one, single, STARTS, start_row(owner, "b"))
    wait_until_blocked(patient, single, by=batch)
    batch.commit()

    assert waiting.result(30).verdict == "exists"


# -- ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_cancellation_before_a_batch_of_finishes(
    owner: Executor, patient: Connection, session_factory: NewSession, in_background: InBackground, ends: str
) -> None:
    for fence, each in enumerate("abc", 1):
        owner.start(each, fence=fence)
    user = session_factory(autocommit=False)
    cancel(user, "b")
    rows = [finish_row(owner, each, fence) for fence, each in enumerate("abc", 1)]
    waiting = in_background(many, owner.connection, FINISHES, rows)
    wait_until_blocked(patient, owner.connection, by=user)
    getattr(user, ends)()

    assert waiting.result(30) == ([2] if ends == "commit" else [])
    if ends == "commit":
        assert one(owner.connection, FINISHES, rows[1]) == "cancelled"
    found = {each["workflow_id"]: each["status"] for each in written(patient)["outcomes"]}
    assert found == {"a": "SUCCESS", "b": "CANCELLED" if ends == "commit" else "SUCCESS", "c": "SUCCESS"}


def test_a_batch_of_finishes_before_a_cancellation(
    owner: Executor, patient: Connection, session_factory: NewSession, in_background: InBackground
) -> None:
    for fence, each in enumerate("ab", 1):
        owner.start(each, fence=fence)
    owner.connection.autocommit = False
    assert many(owner.connection, FINISHES, [finish_row(owner, each, n) for n, each in enumerate("ab", 1)]) == []
    user = session_factory()
    waiting = in_background(cancel, user, "b")
    wait_until_blocked(patient, user, by=owner.connection)
    owner.connection.commit()

    assert waiting.result(30) == "finished"
    ended = outcome(patient, "b")
    assert ended is not None
    assert ended["status"] == "SUCCESS"


def test_a_cancellation_that_stays_open_fails_a_batch_of_finishes_whole(
    owner: Executor, session_factory: NewSession
) -> None:
    for fence, each in enumerate("ab", 1):
        owner.start(each, fence=fence)
    user = session_factory(autocommit=False)
    cancel(user, "b")

    with pytest.raises(psycopg.errors.LockNotAvailable):
        many(owner.connection, FINISHES, [finish_row(owner, each, n) for n, each in enumerate("ab", 1)])
    assert written(owner.connection)["outcomes"] == []


# -- children ------------------------------------------------------------------------------------------


def test_a_child_and_another_step_under_the_same_number(
    owner: Executor, patient: Connection, session_factory: NewSession, in_background: InBackground, healthy: None
) -> None:
    """The number is taken between the look and the insert: the whole batch fails, and one by one it is told why."""
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    owner.checkpoint("w", 5, 1, name="charge")
    rows = [start_row(owner, "c", **parent_of("w", 5, 1)), start_row(owner, "d")]
    other = twin(owner, session_factory())
    waiting = in_background(many, other.connection, STARTS, rows)
    wait_until_blocked(patient, other.connection, by=owner.connection)
    owner.connection.commit()

    with pytest.raises(psycopg.errors.UniqueViolation):
        waiting.result(30)
    assert [one(other.connection, STARTS, row).verdict for row in rows] == ["unexpected_step", "yours"]


# -- lanes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_batch_waits_for_a_claim_that_deletes_its_lane(
    owner: Executor,
    patient: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    ends: str,
    healthy: None,
) -> None:
    put_queue(patient, is_partitioned=True)
    enqueue(patient, "w0", partition_key="b")
    owner.connection.autocommit = False
    assert claim(owner) == ["w0"]
    user = session_factory()
    rows = [enqueue_row(None, f"w{place}", partition_key=key) for place, key in enumerate("cba", 1)]
    waiting = in_background(many, user, ENQUEUES, rows)
    wait_until_blocked(patient, user, by=owner.connection)
    getattr(owner.connection, ends)()
    owner.connection.autocommit = True

    assert waiting.result(30) == []
    assert {lane["partition_key"] for lane in written(patient)["lanes"]} == set("abc")


def test_batches_of_the_same_partitions_in_opposite_orders(
    owner: Executor, patient: Connection, session_factory: NewSession, in_background: InBackground, healthy: None
) -> None:
    put_queue(patient, is_partitioned=True)
    one_, two = session_factory(autocommit=False), session_factory()
    many(one_, ENQUEUES, [enqueue_row(None, f"one{key}", partition_key=key) for key in "ab"])
    waiting = in_background(many, two, ENQUEUES, [enqueue_row(None, f"two{key}", partition_key=key) for key in "ba"])
    wait_until_blocked(patient, two, by=one_)
    one_.commit()

    assert waiting.result(30) == []
