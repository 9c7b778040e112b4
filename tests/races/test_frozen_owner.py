"""An owner that freezes while it reads an answer: what its open transaction holds, and what its lost claims become."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Executor, in_flight, read, rows
from plugins.queueing import cancel, claim, enqueue, resume
from plugins.sessions import Connection, backend_pid, wait_until, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
FENCE = 7


def send_claim(executor: Executor) -> None:
    """Ask for a claim and never read the answer: nothing of this process stands between the socket and the server."""
    arguments = ", ".join(f"p_{name} => {number}" for name, number in {**executor.me, "fence": FENCE}.items())
    query = f"{arguments}, p_queue => 'q', p_limit => 1000, p_unversioned => true, p_suspects => 'any'"
    query += ", p_from_partitions => null, p_from_priorities => null, p_from_seqs => null, p_from_served_at => null"
    executor.connection.pgconn.send_query(f"select * from pyengine.claim_workflows({query})".encode())
    executor.connection.pgconn.flush()


def take_over_all(new: Executor, old: Executor) -> None:
    while new.take_over(old)[2]:
        pass


@pytest.fixture
def owner(new_executor: NewExecutor) -> Executor:
    return new_executor()


@pytest.fixture
def other(new_executor: NewExecutor) -> Executor:
    return new_executor()


def test_a_claim_whose_answer_nobody_reads_is_undone(owner: Executor, other: Executor, session: Connection) -> None:
    """More than the network buffers: the server stays in the transaction, which has the fence and the rows."""
    for place in range(64):
        enqueue(session, f"w{place:02}", attributes='{"a": "%s"}' % ("x" * 300_000))
    send_claim(owner)
    wait_until(
        lambda: waits_for_its_client(session, owner), what="a server that waits for its client", timeout_seconds=60
    )
    other.mark_dead(owner)

    assert other.take_over(owner) == (0, 0, True)
    take_over_all(other, owner)
    waiting = read(session, "select distinct status, executor_id, attempts from pyengine.in_flight")
    assert waiting == [{"status": "ENQUEUED", "executor_id": None, "attempts": 0}]
    assert len(claim(other, limit=1000)) == 64


def waits_for_its_client(observer: Connection, executor: Executor) -> bool:
    query = "select wait_event = 'ClientWrite' as waits from pg_stat_activity where pid = %s"
    return bool(read(observer, query, backend_pid(executor.connection))[0]["waits"])


def test_a_claim_that_was_committed_unread_is_adopted(
    owner: Executor, session_factory: Callable[..., Connection], clock: Clock
) -> None:
    observer = session_factory()
    enqueue(observer, "w")
    send_claim(owner)
    wait_until(lambda: in_flight(observer, "w")["status"] == "PENDING", what="the claim")  # type: ignore[index]
    frozen, owner.connection = owner.connection, session_factory()

    assert owner.beat()["unheld_fences"] == []
    clock.advance(6)
    assert owner.beat()["unheld_fences"] == [FENCE]
    assert [found["workflow_id"] for found in rows(owner.connection, "load_claims", **owner.me, fences=[FENCE])] == [
        "w"
    ]
    assert owner.beat(FENCE)["unheld_fences"] == []
    # The answer is read after all: it is the same claim, and the process knows it by its fence.
    answer = frozen.pgconn.get_result()
    assert answer is not None
    assert answer.ntuples == 1
    assert owner.finish("w", FENCE) == "ok"


def test_what_a_thawed_owner_reads_is_worth_nothing_after_the_takeover(
    owner: Executor, other: Executor, session: Connection
) -> None:
    enqueue(session, "w")
    send_claim(owner)
    wait_until(lambda: in_flight(session, "w")["status"] == "PENDING", what="the claim")  # type: ignore[index]
    other.mark_dead(owner)
    take_over_all(other, owner)
    assert claim(other, fence=8) == ["w"]
    while owner.connection.pgconn.get_result() is not None:
        pass

    with pytest.raises(psycopg.Error) as caught:
        owner.checkpoint("w", FENCE, 1)
    assert caught.value.sqlstate == "WF001"
    assert other.finish("w", 8) == "ok"


def test_a_resume_behind_a_frozen_owner_goes_on_when_it_is_taken_over(
    owner: Executor, other: Executor, session_factory: Callable[..., Connection], in_background: InBackground
) -> None:
    observer, user = session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.start("another", fence=6)
    cancel(observer, "w")
    owner.connection.autocommit = False
    owner.checkpoint("another", 6, 1)
    resumed = in_background(resume, user, "w")
    wait_until_blocked(observer, user, by=owner.connection)
    other.mark_dead(owner)
    take_over_all(other, owner)

    assert resumed.result(10) == "resumed"
    assert read(observer, "select * from pyengine.checkpoints") == []
    assert sorted(claim(other, "_dbos_internal_queue")) == ["another", "w"]


def test_an_owner_frozen_in_any_write_is_ended_with_it(owner: Executor, other: Executor, session: Connection) -> None:
    enqueue(session, "queued")
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    owner.finish("w", 5)
    owner.start("new", fence=6)
    assert claim(owner) == ["queued"]
    other.mark_dead(owner)
    take_over_all(other, owner)

    with pytest.raises(psycopg.OperationalError):
        owner.connection.commit()
    left = read(session, "select workflow_id, status from pyengine.in_flight order by workflow_id")
    assert [(each["workflow_id"], each["status"]) for each in left] == [("queued", "ENQUEUED"), ("w", "ENQUEUED")]
    assert read(session, "select * from pyengine.outcomes") == []
