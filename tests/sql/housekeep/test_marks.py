"""Who is marked dead, and when, while the server and the clock behave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Executor, value
from plugins.sessions import wait_until


@pytest.fixture
def old(new_executor: Callable[..., Executor]) -> Executor:
    return new_executor()


def pass_time(executor: Executor, clock: Clock, seconds: int) -> None:
    """Time as an idle executor spends it: a beat and a round every second. One long jump would be an outage."""
    for _ in range(seconds):
        clock.advance(1)
        executor.beat()
        executor.housekeep()


def disconnect(executor: Executor, observer: psycopg.Connection[Any]) -> None:
    """End the connection and wait until the server has noticed: until then its locks are held."""
    pid = executor.connection.info.backend_pid
    executor.connection.close()
    gone = "select not exists (select from pg_stat_activity where pid = %s)"
    wait_until(lambda: observer.execute(gone, (pid,)).fetchone() == (True,), what="the backend's end")
    executor.connection = observer


def test_expired_lease_is_marked_and_told(executor: Executor, old: Executor, clock: Clock) -> None:
    executor.housekeep()
    pass_time(executor, clock, 9)
    assert old.dead_reason is None
    pass_time(executor, clock, 6)

    assert old.dead_reason == "lease_expired"
    clock.advance(1)
    assert executor.housekeep() == [("take_over", old.id)]
    executor.take_over(old)
    clock.advance(1)
    assert executor.housekeep() == []


def test_beating_executor_lives(executor: Executor, old: Executor, clock: Clock) -> None:
    executor.housekeep()
    for _ in range(6):
        pass_time(executor, clock, 7)
        old.beat()

    assert old.dead_reason is None


def test_rounds_are_half_a_second_apart(executor: Executor, old: Executor, clock: Clock) -> None:
    old.retire()

    assert executor.housekeep() == [("take_over", old.id)]
    assert executor.housekeep() == []
    clock.advance(0.5)
    assert executor.housekeep() == [("take_over", old.id)]


def test_dead_executor_keeps_no_house(executor: Executor, old: Executor) -> None:
    executor.mark_dead(old)

    with pytest.raises(psycopg.Error) as caught:
        old.housekeep()
    assert caught.value.sqlstate == "WF001"


def test_free_liveness_lock_at_two_looks(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    disconnect(old, executor.connection)

    pass_time(executor, clock, 1)
    assert old.dead_reason is None
    pass_time(executor, clock, 1)
    assert old.dead_reason == "liveness_lost"


def test_one_look_is_told_to_be_repeated(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    disconnect(old, executor.connection)

    clock.advance(1)
    assert executor.housekeep() == [("look_again", None)]
    clock.advance(0.5)
    assert executor.housekeep() == [("take_over", old.id)]
    assert old.dead_reason == "liveness_lost"


def test_one_look_is_enough_when_the_lease_is_over_too(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    pass_time(executor, clock, 20)
    assert old.dead_reason is None
    disconnect(old, executor.connection)

    pass_time(executor, clock, 1)
    assert old.dead_reason == "lease_expired"


def test_beat_between_two_looks_saves(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    disconnect(old, executor.connection)
    pass_time(executor, clock, 1)
    assert old.stored()["liveness_missed_at"] is not None
    old.beat()
    pass_time(executor, clock, 5)

    assert old.dead_reason is None


def test_lock_that_is_held_again_at_the_second_look_saves(
    executor: Executor, old: Executor, clock: Clock, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    old.hold_liveness()
    executor.housekeep()
    disconnect(old, executor.connection)
    pass_time(executor, clock, 1)
    old.connection = session_factory()
    assert old.hold_liveness()
    pass_time(executor, clock, 3)

    assert old.dead_reason is None
    assert old.stored()["liveness_missed_at"] is None


def test_held_liveness_lock_gives_four_ttls(executor: Executor, old: Executor, clock: Clock) -> None:
    old.hold_liveness()
    executor.housekeep()
    pass_time(executor, clock, 45)
    assert old.dead_reason is None
    pass_time(executor, clock, 15)

    assert old.dead_reason == "lease_expired"


def test_lock_of_the_housekeepers_own_session_is_not_taken_for_free(executor: Executor, clock: Clock) -> None:
    """A supervisor's first child beats, and holds liveness, for its siblings on one connection."""
    sibling = Executor(executor.connection)
    sibling.hold_liveness()
    executor.housekeep()
    pass_time(executor, clock, 5)

    assert sibling.dead_reason is None
    assert value(executor.connection, "hold_liveness", **sibling.me)


def test_who_lost_its_connection_a_moment_ago_marks_nobody(executor: Executor, old: Executor, clock: Clock) -> None:
    executor.housekeep()
    for _ in range(20):
        clock.advance(1)
        executor.beat()
        executor.housekeep(looks_for_the_dead=False)
    assert old.dead_reason is None

    # Its rounds count: what was left undone for a while is no gap.
    clock.advance(0.5)
    assert executor.housekeep() == [("take_over", old.id)]
    assert old.dead_reason == "lease_expired"


def test_who_does_not_look_leaves_the_round_to_others(
    executor: Executor, old: Executor, new_executor: Callable[..., Executor], clock: Clock
) -> None:
    other = new_executor()
    executor.housekeep()
    old.retire()
    clock.advance(1)
    assert other.housekeep(looks_for_the_dead=False) == []
    assert executor.housekeep() == [("take_over", old.id)]
    clock.advance(2)
    assert other.housekeep(looks_for_the_dead=False) == [("take_over", old.id)]


def elsewhere(session: psycopg.Connection[Any], one: Executor) -> None:
    """As if it had registered before a failover: on the timeline before this one."""
    session.execute(
        "update pyengine.executors set server_identity = regexp_replace(server_identity, '/[^/]*/', '/00000000/')"
        " where executor_id = %s",
        (one.id,),
    )


def test_who_registered_on_another_line_of_history_is_dead_at_once(
    executor: Executor, old: Executor, session: psycopg.Connection[Any]
) -> None:
    old.start("one", 7)
    elsewhere(session, old)

    assert executor.housekeep() == [("take_over", old.id)]
    assert old.dead_reason == "server_changed"
    assert executor.take_over(old) == (1, 0, False)
    assert session.execute("select crashes from pyengine.in_flight").fetchone() == (0,)


@pytest.mark.parametrize("stand_in", ["timeline", "system"])
def test_what_a_role_may_not_read_is_not_compared(
    executor: Executor, old: Executor, session: psycopg.Connection[Any], stand_in: str
) -> None:
    changed = {"timeline": ("/[^/]*/", "/0/"), "system": ("^[^/]*", "database-5")}[stand_in]
    session.execute(
        "update pyengine.executors set server_identity = regexp_replace(server_identity, %s, %s)"
        " where executor_id = %s",
        (*changed, old.id),
    )

    assert executor.housekeep() == []
    assert old.dead_reason is None


def test_behind_a_pooler_the_fence_compares_the_server(
    new_executor: Callable[..., Executor], session: psycopg.Connection[Any]
) -> None:
    pooled = new_executor(is_pooled=True)
    pooled.start("one", 7)
    assert pooled.checkpoint("one", 7, 1)["verdict"] == "stored"
    elsewhere(session, pooled)

    with pytest.raises(psycopg.Error) as refused:
        pooled.checkpoint("one", 7, 2)
    assert refused.value.sqlstate == "WF001"
