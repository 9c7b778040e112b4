"""Claims against each other and against whatever changes the rows they want."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from plugins.executors import Executor, in_flight, outcome, read
from plugins.queueing import cancel, claim, enqueue, put_queue, resume
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
NewSession = Callable[..., Connection]
INTERNAL = "_dbos_internal_queue"


def fill(connection: Connection, count: int, **arguments: Any) -> None:
    for place in range(count):
        enqueue(connection, f"w{place}", **arguments)


def test_two_claims_of_an_unlimited_queue_share_it(new_executor: NewExecutor) -> None:
    one, two = new_executor(), new_executor()
    fill(one.connection, 4)
    one.connection.autocommit = False

    assert claim(one, limit=2) == ["w0", "w1"]
    assert claim(two, limit=9) == ["w2", "w3"]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_two_claims_of_a_limited_queue_follow_each_other(new_executor: NewExecutor, ends: str) -> None:
    one, two = new_executor(), new_executor()
    put_queue(one.connection, concurrency=2)
    fill(one.connection, 4)
    one.connection.autocommit = False
    first = claim(one)
    meanwhile = claim(two)
    getattr(one.connection, ends)()

    assert (first, meanwhile) == (["w0", "w1"], ["busy"])
    assert claim(two) == ([] if ends == "commit" else ["w0", "w1"])


def test_a_limited_queue_that_is_empty_keeps_nobody_busy(new_executor: NewExecutor, session: Connection) -> None:
    executor = new_executor()
    put_queue(session, concurrency=1)
    session.autocommit = False
    session.execute("select pg_advisory_xact_lock(pyengine._advisory_key('queue', 'app/q'))")

    assert claim(executor) == []


def test_a_late_original_and_its_repeat_get_the_same_rows(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    original, observer = new_executor(), session_factory()
    fill(observer, 2)
    repeat = Executor.__new__(Executor)
    vars(repeat).update(vars(original) | {"connection": session_factory()})
    original.connection.autocommit = False
    first = claim(original, limit=1, fence=5)
    second = in_background(claim, repeat, limit=1, fence=5)
    wait_until_blocked(observer, repeat.connection, by=original.connection)
    original.connection.commit()

    assert first == second.result(10) == ["w0"]
    assert in_flight(observer, "w1")["status"] == "ENQUEUED"  # type: ignore[index]


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency": 7},
        {"worker_concurrency": 2},
        {"rate_limit": 7, "rate_period": "1 hour"},
        {"partition_concurrency": 2},
        {"partition_rate_limit": 2, "partition_rate_period": "1 hour"},
    ],
    ids=lambda limits: next(iter(limits)),
)
def test_limits_are_exact_under_contention(
    new_executor: NewExecutor, in_background: InBackground, healthy: None, limits: dict[str, Any]
) -> None:
    """Four executors finish what they claim, as fast as they can; the database's own view must never show too much."""
    executors = [new_executor() for _ in range(4)]
    is_partitioned = any(name.startswith("partition") for name in limits)
    put_queue(executors[0].connection, **limits)
    for place in range(40):
        key = f"k{place % 3}" if is_partitioned else None
        enqueue(executors[0].connection, f"w{place}", partition_key=key)
    together = threading.Barrier(len(executors))

    def work(executor: Executor) -> list[str]:
        together.wait()
        done: list[str] = []
        # Bounded by rounds, not by time: a rate is used up long before.
        for fence in range(executor.id * 1000, executor.id * 1000 + 150):
            for workflow_id in claim(executor, limit=3, fence=fence):
                if workflow_id == "busy":
                    continue
                assert executor.finish(workflow_id, fence) == "ok"
                done.append(workflow_id)
        return done

    finished = [
        workflow_id for each in [in_background(work, one) for one in executors] for workflow_id in each.result(90)
    ]

    assert len(finished) == len(set(finished))
    rate = limits.get("rate_limit") or limits.get("partition_rate_limit", 0) * 3
    assert len(finished) == (rate or 40)
    most = {"concurrency": "true", "worker_concurrency": "b.executor_id = a.executor_id"}
    most["partition_concurrency"] = "b.partition_key = a.partition_key"
    for name in limits.keys() & most.keys():
        assert most_at_once(executors[0].connection, most[name]) <= limits[name]


def most_at_once(connection: Connection, key: str) -> int:
    """How many outcomes overlapped at most, from claim to end: exact, because both instants are the database's."""
    found = read(
        connection,
        f"select coalesce(max(n), 0) as most from (select (select count(*) from pyengine.outcomes as b"
        f" where b.claimed_at <= a.claimed_at and a.claimed_at < b.completed_at and {key}) as n"
        f" from pyengine.outcomes as a) as x",
    )
    most: int = found[0]["most"]
    return most


def test_no_instant_shows_more_than_the_limit(new_executor: NewExecutor, in_background: InBackground) -> None:
    executors = [new_executor() for _ in range(4)]
    put_queue(executors[0].connection, concurrency=3, worker_concurrency=2)
    fill(executors[0].connection, 60)

    def work(executor: Executor) -> None:
        for fence in range(executor.id * 1000, executor.id * 1000 + 200):
            for workflow_id in claim(executor, limit=2, fence=fence):
                if workflow_id != "busy":
                    executor.finish(workflow_id, fence)

    for each in [in_background(work, one) for one in executors]:
        each.result(90)

    connection = executors[0].connection
    assert read(connection, "select count(*) as n from pyengine.outcomes")[0]["n"] == 60
    assert 1 <= most_at_once(connection, "true") <= 3
    assert most_at_once(connection, "b.executor_id = a.executor_id") <= 2


def test_claim_before_cancel(new_executor: NewExecutor, in_background: InBackground) -> None:
    owner, user = new_executor(), new_executor()
    fill(user.connection, 1)
    observer = new_executor().connection
    owner.connection.autocommit = False
    claim(owner, fence=5)
    cancelled = in_background(cancel, user.connection, "w0")
    wait_until_blocked(observer, user.connection, by=owner.connection)
    owner.connection.commit()
    owner.connection.autocommit = True

    assert cancelled.result(10) == "cancelled"
    ended = outcome(observer, "w0")
    assert ended is not None
    assert (ended["executor_id"], ended["fence"]) == (owner.id, 5)
    assert owner.beat(5)["interrupted_ids"] == ["w0"]


def test_cancel_before_claim(new_executor: NewExecutor) -> None:
    owner, user = new_executor(), new_executor()
    fill(user.connection, 2)
    user.connection.autocommit = False
    cancel(user.connection, "w0")

    assert claim(owner) == ["w1"]


def test_claim_before_resume_elsewhere(new_executor: NewExecutor, in_background: InBackground) -> None:
    owner, user = new_executor(), new_executor()
    fill(user.connection, 1)
    observer = new_executor().connection
    owner.connection.autocommit = False
    claim(owner, fence=5)
    resumed = in_background(resume, user.connection, "w0")
    wait_until_blocked(observer, user.connection, by=owner.connection)
    owner.connection.commit()

    assert resumed.result(10) == "running"
    assert in_flight(observer, "w0")["queue"] == "q"  # type: ignore[index]


def test_resume_elsewhere_before_claim(new_executor: NewExecutor) -> None:
    owner, user = new_executor(), new_executor()
    fill(user.connection, 1)
    user.connection.autocommit = False
    resume(user.connection, "w0")
    meanwhile = claim(owner)
    user.connection.commit()

    assert (meanwhile, claim(owner), claim(owner, INTERNAL)) == ([], [], ["w0"])


def test_new_limits_wait_for_a_claim_that_goes_by_the_old_ones(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    executor, user, observer = new_executor(), session_factory(), session_factory()
    put_queue(user, concurrency=3)
    fill(user, 9)
    executor.connection.autocommit = False
    first = claim(executor)
    lowered = in_background(put_queue, user, concurrency=1)
    wait_until_blocked(observer, user, by=executor.connection)
    executor.connection.commit()
    lowered.result(10)

    assert (len(first), claim(executor)) == (3, [])


@pytest.mark.parametrize("commits_first", [True, False])
def test_a_row_that_was_long_in_coming_is_left_by_a_mark_and_found_from_the_head(
    new_executor: NewExecutor, session_factory: NewSession, commits_first: bool
) -> None:
    """It drew its number before those that were claimed meanwhile."""
    executor, slow = new_executor(), session_factory(autocommit=False)
    enqueue(slow, "slow")
    enqueue(executor.connection, "quick")
    assert claim(executor) == ["quick"]
    mark = {0: seq_of(executor.connection, "quick")}
    enqueue(executor.connection, "next")
    if commits_first:
        slow.commit()
    assert claim(executor, mark=mark) == ["next"]
    slow.commit()

    assert claim(executor, mark=mark) == []
    assert claim(executor) == ["slow"]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_rows_that_an_open_claim_holds_may_come_back_before_the_mark(new_executor: NewExecutor, ends: str) -> None:
    one, two = new_executor(), new_executor()
    fill(one.connection, 4)
    one.connection.autocommit = False
    assert claim(one, limit=2) == ["w0", "w1"]
    assert claim(two, limit=1) == ["w2"]
    mark = {0: seq_of(two.connection, "w2")}
    getattr(one.connection, ends)()

    assert claim(two, mark=mark) == ["w3"]
    assert claim(two) == ([] if ends == "commit" else ["w0", "w1"])


def seq_of(connection: Connection, workflow_id: str) -> int:
    row = in_flight(connection, workflow_id)
    assert row is not None
    number: int = row["seq"]
    return number
