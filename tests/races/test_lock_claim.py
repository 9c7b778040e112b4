"""The fence inside a user's own transaction: what it writes is written by the owner, or not at all, at every level."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from plugins.executors import Executor, in_flight, read, value
from plugins.sessions import backend_pid, wait_until, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
Connection = psycopg.Connection[Any]

STRICT = (IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)
every_level = pytest.mark.parametrize(
    "level", [IsolationLevel.READ_COMMITTED, *STRICT], ids=lambda level: level.name.lower()
)

# What the workflow "w", claimed by `old` under fence 5, may lose its claim to; and what its owner is told afterwards.
RIVALS: dict[str, tuple[Callable[[Executor, Executor], object], str]] = {
    "finish": (lambda old, _: old.finish("w", 5), "fenced"),
    "cancel": (lambda old, _: value(old.connection, "cancel_workflow", workflow_id="w"), "cancelled"),
    "takeover": (lambda old, new: value(old.connection, "take_over_executor", dead_id=new.id, limit=10), "fenced"),
}
every_rival = pytest.mark.parametrize("rival", RIVALS)


class User:
    """A user's own transaction, which writes a row and asks for the claim."""

    def __init__(self, connection: Connection, level: IsolationLevel) -> None:
        connection.execute("create table if not exists public.ledger (line text)")
        connection.autocommit = False
        connection.isolation_level = level
        self.connection = connection

    def write(self) -> None:
        self.connection.execute("insert into public.ledger values ('written')")

    def lock(self, fence: int = 5) -> str:
        found: str = value(self.connection, "lock_claim", workflow_id="w", fence=fence)
        return found


@pytest.fixture
def observer(session_factory: Callable[..., Connection]) -> Connection:
    return session_factory()


@pytest.fixture
def users(session_factory: Callable[..., Connection]) -> Callable[[IsolationLevel], User]:
    return lambda level: User(session_factory(), level)


def ledger(observer: Connection) -> int:
    return len(read(observer, "select line from public.ledger"))


def is_open(observer: Connection, pid: int) -> bool:
    return bool(read(observer, "select pid from pg_stat_activity where pid = %s", pid))


@every_level
@pytest.mark.parametrize("rival", ["finish", "cancel"])
def test_who_would_end_the_workflow_waits_for_the_transaction(
    new_executor: NewExecutor,
    observer: Connection,
    users: Callable[[IsolationLevel], User],
    in_background: InBackground,
    level: IsolationLevel,
    rival: str,
) -> None:
    old, user = new_executor(), users(level)
    old.start("w", fence=5)
    user.write()
    assert user.lock() == "held"
    ending = in_background(RIVALS[rival][0], old, old)
    wait_until_blocked(observer, old.connection, by=user.connection)

    user.connection.commit()
    ending.result(10)
    assert ledger(observer) == 1
    assert in_flight(observer, "w") is None


@every_level
def test_takeover_ends_the_transaction_and_moves_the_row_afterwards(
    new_executor: NewExecutor, observer: Connection, users: Callable[[IsolationLevel], User], level: IsolationLevel
) -> None:
    """A frozen client would keep its transaction open for ever, so the takeover of its executor does not wait."""
    old, new, user = new_executor(), new_executor(), users(level)
    old.start("w", fence=5)
    old.start("beside it", fence=6)
    user.write()
    assert user.lock() == "held"
    new.mark_dead(old)

    assert new.take_over(old) == (1, 0, True), "what is not locked goes on at once"
    assert in_flight(observer, "w")["fence"] == 5  # type: ignore[index]
    assert new.take_over(old)[2]
    wait_until(lambda: not is_open(observer, backend_pid(user.connection)), what="the end of the user's connection")
    assert new.take_over(old) == (1, 0, False)
    with pytest.raises(psycopg.OperationalError):
        user.connection.commit()
    assert ledger(observer) == 0


@every_level
def test_row_is_not_moved_before_the_transaction_has_ended(
    new_executor: NewExecutor, observer: Connection, users: Callable[[IsolationLevel], User], level: IsolationLevel
) -> None:
    """Also where the takeover may not end the backend of another role: it comes back."""
    old, new, user = new_executor(), new_executor(), users(level)
    old.start("w", fence=5)
    new.mark_dead(old)
    user.write()
    assert user.lock() == "held", "the mark alone moves no row"
    moved = read(new.connection, "select moved from pyengine._hand_over_rows(%s, 10)", old.id)
    assert [found["moved"] for found in moved] == [0]

    user.connection.commit()
    assert new.take_over(old) == (1, 0, False)
    assert ledger(observer) == 1


@every_level
@every_rival
def test_transaction_that_comes_second_waits_and_is_refused(
    new_executor: NewExecutor,
    observer: Connection,
    users: Callable[[IsolationLevel], User],
    in_background: InBackground,
    level: IsolationLevel,
    rival: str,
) -> None:
    lose, verdict = RIVALS[rival]
    old, other, user = new_executor(), new_executor(), users(level)
    old.start("w", fence=5)
    if rival == "takeover":
        other.mark_dead(old)
        other, old = old, other  # whoever writes is `old`: the takeover goes over a connection of its own
    user.write()
    old.connection.autocommit = False
    lose(old, other)
    late = in_background(user.lock)
    wait_until_blocked(observer, user.connection, by=old.connection)
    old.connection.commit()

    if level in STRICT:
        with pytest.raises(psycopg.errors.SerializationFailure):
            late.result(10)
        user.connection.rollback()
        assert user.lock() == verdict
    else:
        assert late.result(10) == verdict
    user.connection.rollback()
    assert ledger(observer) == 0


@every_level
@every_rival
def test_claim_lost_between_the_snapshot_and_the_lock_is_not_held(
    new_executor: NewExecutor,
    users: Callable[[IsolationLevel], User],
    level: IsolationLevel,
    rival: str,
) -> None:
    """The snapshot of a strict transaction still shows the row: looking at it is not enough."""
    lose, verdict = RIVALS[rival]
    old, other, user = new_executor(), new_executor(), users(level)
    old.start("w", fence=5)
    user.write()
    if rival == "takeover":
        other.mark_dead(old)
        other, old = old, other
    lose(old, other)

    if level in STRICT:
        assert in_flight(user.connection, "w")["fence"] == 5  # type: ignore[index]
        with pytest.raises(psycopg.errors.SerializationFailure):
            user.lock()
    else:
        assert user.lock() == verdict


@every_level
def test_lock_of_the_former_owner_is_refused_while_the_new_one_holds_its_own(
    new_executor: NewExecutor, users: Callable[[IsolationLevel], User], level: IsolationLevel
) -> None:
    """No wait either: the former owner looks for a fence that no row carries."""
    old, new = new_executor(), new_executor()
    old.start("w", fence=5)
    new.mark_dead(old)
    assert new.take_over(old) == (1, 0, False)
    new.connection.execute(
        "update pyengine.in_flight set status = 'PENDING', executor_id = %s, fence = 7, claimed_at = pyengine._now()",
        (new.id,),
    )
    owner, former = users(level), users(level)

    assert owner.lock(fence=7) == "held"
    assert former.lock(fence=5) == "fenced"


@every_level
def test_a_repeat_gets_the_same_answer(
    new_executor: NewExecutor, users: Callable[[IsolationLevel], User], level: IsolationLevel
) -> None:
    new_executor().start("w", fence=5)
    user = users(level)

    assert (user.lock(), user.lock(), user.lock(fence=6)) == ("held", "held", "fenced")


@every_level
def test_steps_are_recorded_while_a_transaction_holds_the_claim(
    new_executor: NewExecutor, users: Callable[[IsolationLevel], User], level: IsolationLevel
) -> None:
    """The engine's own writes go over other connections: they must not wait for the user's transaction."""
    old, user = new_executor(), users(level)
    old.start("w", fence=5)
    assert user.lock() == "held"

    old.connection.execute("set lock_timeout = '5s'")
    assert old.checkpoint("w", 5, 1)["verdict"] == "stored"
    assert old.start_child("child", "w", 5, 2)["verdict"] == "yours"
    assert old.beat(5)["unheld_fences"] == []
