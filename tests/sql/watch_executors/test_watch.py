"""One beat for all executors of a host, by somebody who sees their processes."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Connection, Executor, put_in_flight, rows

NewExecutor = Callable[..., Executor]
Watched = list[tuple[int, bool, bool]]


def watch(connection: Connection, *watched: Executor, renew: bool = True) -> Watched:
    given = {"executor_ids": [each.id for each in watched], "nonces": [each.nonce for each in watched], "renew": renew}
    found = rows(connection, "watch_executors", **given)
    return [(each["executor_id"], each["is_alive"], each["has_suspects"]) for each in found]


def test_tells_of_each_in_the_order_asked_for(new_executor: NewExecutor, session: Connection) -> None:
    dead, one, two = new_executor(), new_executor(), new_executor()
    dead.retire()

    expected = [(two.id, True, False), (dead.id, False, False), (one.id, True, False)]
    assert watch(session, two, dead, one) == expected
    assert watch(session) == []


def test_another_nonce_is_another_executor(executor: Executor, session: Connection) -> None:
    before = executor.stored()
    executor.nonce += 1

    assert watch(session, executor) == [(executor.id, False, False)]
    assert executor.stored() == before


def test_keeps_a_silent_process_alive(new_executor: NewExecutor, session: Connection, clock: Clock) -> None:
    silent, housekeeper = new_executor(), new_executor()
    housekeeper.housekeep()
    for _ in range(20):
        clock.advance(2)
        watch(session, silent)
        housekeeper.beat()
        housekeeper.housekeep()

    assert silent.dead_reason is None


def test_only_looks_when_told_so(executor: Executor, session: Connection) -> None:
    before = executor.stored()

    assert watch(session, executor, renew=False) == [(executor.id, True, False)]
    assert executor.stored() == before
    watch(session, executor)
    assert executor.stored()["lease_expires_at"] > before["lease_expires_at"]


@pytest.mark.parametrize("renew", [True, False])
def test_speaks_for_a_process_whose_liveness_lock_is_free(
    new_executor: NewExecutor, session: Connection, clock: Clock, renew: bool
) -> None:
    cut_off, housekeeper = new_executor(), new_executor()
    housekeeper.housekeep()
    cut_off.hold_liveness()
    held = cut_off.stored()["liveness_pid"]
    cut_off.connection.close()
    cut_off.connection = session
    for _ in range(4):
        clock.advance(1)
        housekeeper.beat()
        housekeeper.housekeep()
        watch(session, cut_off, renew=renew)

    assert cut_off.dead_reason is None
    # Its own to change: the lock belongs to its connection.
    assert cut_off.stored()["liveness_pid"] == held


def test_revives_nobody(executor: Executor, new_executor: NewExecutor, session: Connection) -> None:
    dead = new_executor()
    executor.mark_dead(dead)
    before = dead.stored()

    assert watch(session, dead) == [(dead.id, False, False)]
    assert dead.stored() == before


def test_tells_of_suspects_that_this_version_could_run(new_executor: NewExecutor, session: Connection) -> None:
    mine, other_version, other_application = (
        new_executor(),
        new_executor(app_version="v2"),
        new_executor(application="other"),
    )
    put_in_flight(session, "running", app_version="v1", crashes=3, status="PENDING", executor_id=mine.id, fence=5)
    put_in_flight(session, "good", app_version="v1", crashes=2)
    assert not any(has_suspects for _, _, has_suspects in watch(session, mine, other_version, other_application))
    put_in_flight(session, "bad", app_version="v1", crashes=3, queue="anywhere")

    found = watch(session, mine, other_version, other_application)
    assert [has_suspects for _, _, has_suspects in found] == [True, False, False]


def test_ids_and_nonces_come_in_pairs(executor: Executor, session: Connection) -> None:
    with pytest.raises(psycopg.Error) as caught:
        rows(session, "watch_executors", executor_ids=[executor.id], nonces=[], renew=True)
    assert caught.value.sqlstate == "WF101"


def test_reads_no_backlog(executor: Executor, new_executor: NewExecutor, session: Connection) -> None:
    """The plan made on empty tables is the one that is kept."""
    others = [new_executor() for _ in range(3)]
    watch(session, executor, *others)
    session.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, app_version, crashes)"
        " select 'w' || n, 'ENQUEUED', 'q', 'app', case when n % 100 = 0 then 'v0' else 'v1' end,"
        "   case when n % 100 = 0 then 3 else 0 end from generate_series(1, 20000) as n"
    )
    session.autocommit = False
    assert watch(session, executor, *others)[0] == (executor.id, True, False)
    counted = (
        "select sum(seq_tup_read + idx_tup_fetch) from pg_stat_xact_user_tables where schemaname = 'pyengine'"
        " and relname in ('in_flight', 'executors')"
    )
    found = session.execute(counted.encode()).fetchone()

    assert found is not None
    assert found[0] < 50
