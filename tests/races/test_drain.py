"""An executor that ends in good order, or is declared dead by several at once, while its calls are still under way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, in_flight, outcome, row
from plugins.queueing import claim, enqueue
from plugins.replies import twin
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]
InBackground = Callable[..., Future[Any]]
EXPIRED = "update pyengine.executors set lease_expires_at = '2000-01-01' where executor_id = %s"


def refused(call: Callable[..., Any], *arguments: Any) -> str | None:
    with pytest.raises(psycopg.Error) as caught:
        call(*arguments)
    return caught.value.sqlstate


@pytest.fixture
def owner(new_executor: NewExecutor) -> Executor:
    return new_executor()


@pytest.fixture
def other(new_executor: NewExecutor) -> Executor:
    return new_executor()


@pytest.fixture
def ending(owner: Executor, session_factory: NewSession) -> Executor:
    """The owner's other connection, on which it retires."""
    return twin(owner, session_factory())


def test_claim_before_retire(
    owner: Executor, ending: Executor, other: Executor, session: Connection, in_background: InBackground
) -> None:
    """The process stopped claiming, but a claim is on its way. What it takes is handed over, and nobody's crash."""
    enqueue(session, "w")
    owner.connection.autocommit = False
    assert claim(owner) == ["w"]
    ending.retire()
    takeover = in_background(other.take_over, owner)
    wait_until_blocked(session, other.connection, by=owner.connection)
    owner.connection.commit()

    assert takeover.result(10) == (1, 0, False)
    waiting = in_flight(session, "w")
    assert waiting is not None
    assert (waiting["status"], waiting["crashes"]) == ("ENQUEUED", 0)


def test_retire_before_claim(owner: Executor, ending: Executor, session: Connection) -> None:
    enqueue(session, "w")
    ending.retire()

    assert refused(claim, owner) == "WF001"
    assert in_flight(session, "w")["status"] == "ENQUEUED"  # type: ignore[index]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_claim_while_the_mark_is_not_committed(
    owner: Executor, ending: Executor, other: Executor, session: Connection, ends: str
) -> None:
    enqueue(session, "w")
    ending.connection.autocommit = False
    ending.retire()
    assert claim(owner, fence=5) == ["w"]
    # Not dead yet, for anybody else.
    assert refused(other.take_over, owner) == "WF101"
    getattr(ending.connection, ends)()

    if ends == "commit":
        assert refused(owner.finish, "w", 5) == "WF001"
        assert other.take_over(owner) == (1, 0, False)
    else:
        assert owner.finish("w", 5) == "ok"


def test_finish_before_retire(owner: Executor, ending: Executor, other: Executor, in_background: InBackground) -> None:
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    owner.finish("w", 5)
    ending.retire()
    takeover = in_background(other.take_over, owner)
    wait_until_blocked(ending.connection, other.connection, by=owner.connection)
    owner.connection.commit()

    assert takeover.result(10) == (0, 0, False)
    assert outcome(other.connection, "w")["status"] == "SUCCESS"  # type: ignore[index]


def retire(owner: Executor, other: Executor) -> None:
    owner.retire()


def vouch(owner: Executor, other: Executor) -> None:
    other.mark_dead(owner, "process_gone")


def look(owner: Executor, other: Executor) -> None:
    assert ("take_over", owner.id) in other.housekeep()


MARKS = {"retired": retire, "process_gone": vouch, "lease_expired": look}


@pytest.mark.parametrize("second", MARKS)
@pytest.mark.parametrize("first", MARKS)
def test_of_two_marks_the_first_stays(
    owner: Executor, new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground,
    first: str, second: str,
) -> None:  # fmt: skip
    observer = session_factory()
    observer.execute(EXPIRED, (owner.id,))
    one, two = [(twin(owner, session_factory()), new_executor()) for _ in range(2)]
    for executor in one:
        executor.connection.autocommit = False
    MARKS[first](*one)
    if first == second == "lease_expired":
        # One round at a time; the second does not wait.
        assert two[1].housekeep() == []
        waiting = None
    else:
        waiting = in_background(MARKS[second], *two)
        wait_until_blocked(observer, (two[0] if second == "retired" else two[1]).connection)
    for executor in one:
        executor.connection.commit()
    if waiting is not None:
        waiting.result(10)

    assert owner.dead_reason == first


@pytest.mark.parametrize("mark", MARKS)
def test_a_beat_under_way_neither_hides_a_mark_nor_undoes_it(
    owner: Executor, other: Executor, session_factory: NewSession, in_background: InBackground, mark: str
) -> None:
    observer, ending = session_factory(), twin(owner, session_factory())
    observer.execute(EXPIRED, (owner.id,))
    owner.connection.autocommit = False
    owner.beat()
    waiting = in_background(other.housekeep if mark == "lease_expired" else MARKS[mark], *(
        () if mark == "lease_expired" else (ending, other)
    ))  # fmt: skip
    wait_until_blocked(observer, (ending if mark == "retired" else other).connection, by=owner.connection)
    owner.connection.commit()
    waiting.result(10)

    # A renewed lease is what a mark for its end waits for. That somebody is gone is no question of leases.
    assert owner.dead_reason == (None if mark == "lease_expired" else mark)


def test_two_beats_of_one_executor(
    owner: Executor, session: Connection, session_factory: NewSession, in_background: InBackground
) -> None:
    """The tick moved to a new connection while the old one was at it: the liveness lock stayed with the old one."""
    assert owner.hold_liveness()
    again = twin(owner, session_factory())
    owner.connection.autocommit = False
    assert owner.beat()["holds_liveness"]
    later = in_background(again.beat)
    wait_until_blocked(session, again.connection, by=owner.connection)
    owner.connection.commit()

    assert not later.result(10)["holds_liveness"]
    assert not owner.beat()["holds_liveness"]


def test_a_late_registration_of_somebody_dead_is_nobody_new(owner: Executor, other: Executor) -> None:
    other.mark_dead(owner, "process_gone")
    again = row(other.connection, "register_executor", **owner.registration)

    assert again["executor_id"] == owner.id
    assert refused(owner.start, "w") == "WF001"
