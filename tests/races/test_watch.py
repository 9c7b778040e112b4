"""The beat of a supervisor against marks, other beats, and the forgetting of executors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from plugins.clock import Clock
from plugins.executors import Connection, Executor, in_flight, read, rows, value
from plugins.queueing import claim
from plugins.sessions import wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
NewSession = Callable[..., Connection]


def watch(connection: Connection, *watched: Executor) -> list[tuple[int, bool]]:
    given = {"executor_ids": [each.id for each in watched], "nonces": [each.nonce for each in watched], "renew": True}
    return [(each["executor_id"], each["is_alive"]) for each in rows(connection, "watch_executors", **given)]


def test_a_mark_that_came_first_is_final(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    child, other, witness = new_executor(), new_executor(), new_executor()
    warden, observer = session_factory(), session_factory()
    witness.connection.autocommit = False
    witness.mark_dead(child, "child_died")
    watched = in_background(watch, warden, child, other)
    wait_until_blocked(observer, warden, by=witness.connection)
    witness.connection.commit()

    assert watched.result(10) == [(child.id, False), (other.id, True)]


def test_a_mark_by_the_lease_that_comes_second_finds_it_renewed(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, clock: Clock
) -> None:
    child, housekeeper = new_executor(), new_executor()
    warden, observer = session_factory(), session_factory()
    clock.advance(16)
    housekeeper.beat()
    warden.autocommit = False
    watch(warden, child)
    marked = in_background(value, housekeeper.connection, "_mark_the_dead", executor_id=housekeeper.id, look_gap=None)
    wait_until_blocked(observer, housekeeper.connection, by=warden)
    warden.commit()
    marked.result(10)

    assert child.dead_reason is None


def test_its_own_beat_and_the_supervisors_follow_each_other(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    child, warden, observer = new_executor(), session_factory(), session_factory()
    child.connection.autocommit = False
    child.beat()
    watched = in_background(watch, warden, child)
    wait_until_blocked(observer, warden, by=child.connection)
    child.connection.commit()

    assert watched.result(10) == [(child.id, True)]


def test_two_wardens_of_the_same_children_in_another_order_are_no_deadlock(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    """As when one is replaced while its last call is under way."""
    one, two = new_executor(), new_executor()
    first, second, holder, observer = (session_factory() for _ in range(4))
    holder.autocommit = False
    holder.execute("select from pyengine.executors where executor_id = %s for update", (one.id,))
    watched = [in_background(watch, first, one, two), in_background(watch, second, two, one)]
    # Whatever order they were given: both wait for the one with the lowest id, and hold none that comes later.
    wait_until_blocked(observer, first)
    wait_until_blocked(observer, second)
    assert holder.execute(
        "select 1 from pyengine.executors where executor_id = %s for update nowait", (two.id,)
    ).fetchone()
    holder.commit()

    assert [sorted(each.result(10)) for each in watched] == [[(one.id, True), (two.id, True)]] * 2


def test_two_isolated_executors_take_different_suspects_and_wait_for_nobody(new_executor: NewExecutor) -> None:
    one, two = (new_executor(is_supervised=True, is_isolated=True) for _ in range(2))
    for name in "ab":
        one.start(name, fence=5)
    one.connection.execute(
        "update pyengine.in_flight set status = 'ENQUEUED', queue = 'q', executor_id = null, fence = null,"
        " crashes = 3, is_suspect = true"
    )
    one.connection.autocommit = False

    assert (claim(one, suspects="only"), claim(two, suspects="only")) == (["a"], ["b"])
    one.connection.rollback()
    assert in_flight(two.connection, "a") is not None
    assert claim(two, suspects="only") == ["a"]


def test_a_takeover_beside_the_forgetting_of_executors(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, clock: Clock
) -> None:
    """Who is handed over is forgotten by one of two; who still has work is nobody's to forget."""
    done, dead, new, other = (new_executor() for _ in range(4))
    dead.start("w", fence=5)
    for each in (done, dead):
        new.mark_dead(each)
    new.take_over(done)
    clock.advance(24 * 3600 + 1)
    new.connection.autocommit = False
    assert value(new.connection, "prune_executors", limit=10) == 1

    assert value(other.connection, "prune_executors", limit=10) == 0, "it does not wait"
    assert other.take_over(dead) == (1, 0, False)
    new.connection.commit()
    known = read(other.connection, "select executor_id from pyengine.executors order by executor_id")
    assert [each["executor_id"] for each in known] == [dead.id, new.id, other.id]
