"""Instants that come (delays, deadlines) against each other and against whatever else ends or moves the workflow."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from plugins.executors import Executor, in_flight, outcome, put_in_flight, value
from plugins.queueing import cancel, claim, resume
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]
InBackground = Callable[..., Future[Any]]
INTERNAL = "_dbos_internal_queue"
PAST = "2000-01-01"


def release(connection: Connection) -> int:
    found: int = value(connection, "release_delayed", limit=10)
    return found


def expire(connection: Connection) -> int:
    found: int = value(connection, "expire_deadlines", limit=10)
    return found


@pytest.fixture
def one(session_factory: NewSession) -> Connection:
    """Comes first and holds its transaction open."""
    return session_factory(autocommit=False)


@pytest.fixture
def two(session_factory: NewSession) -> Connection:
    return session_factory()


@pytest.fixture
def delayed(session: Connection) -> Connection:
    put_in_flight(session, "w", status="DELAYED", run_at=PAST, app_version="v1")
    return session


@pytest.fixture
def overdue(session: Connection) -> Connection:
    put_in_flight(session, "w", app_version="v1", deadline=PAST)
    return session


@pytest.mark.parametrize("first", [release, expire])
def test_a_second_round_passes_over_what_the_first_is_doing(
    session: Connection, one: Connection, two: Connection, first: Callable[[Connection], int]
) -> None:
    put_in_flight(session, "w", status="DELAYED", run_at=PAST, deadline=PAST)
    assert first(one) == 1
    assert (release(two), expire(two)) == (0, 0)
    one.commit()

    assert (release(two), expire(two)) == (0, 1 if first is release else 0)


def test_release_before_cancel(
    delayed: Connection, one: Connection, two: Connection, in_background: InBackground
) -> None:
    assert release(one) == 1
    cancelled = in_background(cancel, two, "w")
    wait_until_blocked(delayed, two, by=one)
    one.commit()

    assert cancelled.result(10) == "cancelled"
    assert in_flight(delayed, "w") is None


@pytest.mark.parametrize("end", [cancel, resume])
def test_an_act_of_a_user_before_release(
    delayed: Connection, one: Connection, two: Connection, end: Callable[[Connection, str], str]
) -> None:
    end(one, "w")
    assert release(two) == 0
    one.commit()

    assert release(two) == 0
    waiting = in_flight(delayed, "w")
    assert waiting is None if end is cancel else waiting is not None and waiting["queue"] == INTERNAL


def test_release_before_resume(
    delayed: Connection, one: Connection, two: Connection, in_background: InBackground, new_executor: NewExecutor
) -> None:
    assert release(one) == 1
    resumed = in_background(resume, two, "w")
    wait_until_blocked(delayed, two, by=one)
    one.commit()

    assert resumed.result(10) == "resumed"
    executor = new_executor()
    assert (claim(executor), claim(executor, INTERNAL)) == ([], ["w"])


def test_deadline_before_cancel(
    overdue: Connection, one: Connection, two: Connection, in_background: InBackground
) -> None:
    assert expire(one) == 1
    cancelled = in_background(cancel, two, "w")
    wait_until_blocked(overdue, two, by=one)
    one.commit()

    assert cancelled.result(10) == "finished"


def test_cancel_before_deadline(overdue: Connection, one: Connection, two: Connection) -> None:
    assert cancel(one, "w") == "cancelled"
    assert expire(two) == 0
    one.commit()

    assert expire(two) == 0
    assert outcome(overdue, "w")["status"] == "CANCELLED"  # type: ignore[index]


def test_deadline_before_claim(overdue: Connection, one: Connection, new_executor: NewExecutor) -> None:
    executor = new_executor()
    assert expire(one) == 1
    assert claim(executor) == []
    one.commit()

    assert claim(executor) == []


def test_claim_before_deadline(overdue: Connection, two: Connection, new_executor: NewExecutor) -> None:
    """What is just being claimed is found by the next round, and its run is told."""
    executor, other = new_executor(), new_executor()
    executor.connection.autocommit = False
    assert claim(executor, fence=5) == ["w"]
    assert expire(two) == 0
    executor.connection.commit()

    assert expire(two) == 1
    assert executor.beat(5)["interrupted_ids"] == ["w"]
    assert executor.finish("w", 5) == "cancelled"
    assert other.beat()["interrupted_ids"] == []


@pytest.fixture
def running(new_executor: NewExecutor) -> Executor:
    """It runs something whose deadline is over, and is dead."""
    owner = new_executor()
    owner.start("w", fence=5, deadline=PAST)
    owner.retire()
    return owner


def test_deadline_before_takeover(running: Executor, one: Connection, new_executor: NewExecutor) -> None:
    new = new_executor()
    assert expire(one) == 1
    # The row is being deleted: it is skipped, and the takeover is not over.
    assert new.take_over(running) == (0, 0, True)
    one.commit()

    assert new.take_over(running) == (0, 0, False)
    assert outcome(new.connection, "w")["fence"] == 5  # type: ignore[index]


def test_takeover_before_deadline(running: Executor, two: Connection, new_executor: NewExecutor) -> None:
    new = new_executor()
    new.connection.autocommit = False
    assert new.take_over(running) == (1, 0, False)
    assert expire(two) == 0
    new.connection.commit()

    assert expire(two) == 1
    ended = outcome(two, "w")
    assert ended is not None
    assert (ended["status"], ended["executor_id"], ended["fence"]) == ("CANCELLED", None, None)


def test_a_start_that_is_not_committed_cannot_be_cancelled(two: Connection, new_executor: NewExecutor) -> None:
    """Nobody knows of it yet, so nobody is made to wait for it."""
    owner = new_executor()
    owner.connection.autocommit = False
    owner.start("w", fence=5)
    assert (cancel(two, "w"), resume(two, "w")) == ("unknown", "unknown")
    owner.connection.commit()

    assert cancel(two, "w") == "cancelled"
    assert owner.finish("w", 5) == "cancelled"
