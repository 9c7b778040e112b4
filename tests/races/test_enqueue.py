"""Enqueues against each other (one id, one deduplication key), and against claims that empty their partition."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from plugins.executors import Executor, read
from plugins.queueing import cancel, claim, enqueue, put_queue, resume
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
NewSession = Callable[..., Connection]


@pytest.fixture
def three(session_factory: NewSession) -> tuple[Connection, Connection, Connection]:
    """An observer and two users, the first of which holds its transaction open."""
    observer, one, two = session_factory(), session_factory(), session_factory()
    one.autocommit = False
    return observer, one, two


def second_after(
    three: tuple[Connection, Connection, Connection], in_background: InBackground, ends: str, **second: Any
) -> dict[str, Any]:
    observer, one, two = three
    waiting = in_background(enqueue, two, **second)
    wait_until_blocked(observer, two, by=one)
    getattr(one, ends)()
    found: dict[str, Any] = waiting.result(10)
    return found


@pytest.mark.parametrize(("ends", "verdict"), [("commit", "exists"), ("rollback", "yours")])
def test_one_id(
    three: tuple[Connection, Connection, Connection], in_background: InBackground, ends: str, verdict: str
) -> None:
    enqueue(three[1], "w")

    assert second_after(three, in_background, ends, workflow_id="w")["verdict"] == verdict
    assert len(read(three[0], "select * from pyengine.in_flight")) == 1


def test_a_late_original_and_its_repeat(
    three: tuple[Connection, Connection, Connection], in_background: InBackground
) -> None:
    enqueue(three[1], "w", start_token=7)

    assert second_after(three, in_background, "commit", workflow_id="w", start_token=7)["verdict"] == "yours"


@pytest.mark.parametrize(("ends", "verdict", "holder"), [("commit", "deduplicated", "a"), ("rollback", "yours", None)])
def test_one_deduplication_key(
    three: tuple[Connection, Connection, Connection],
    in_background: InBackground,
    ends: str,
    verdict: str,
    holder: str | None,
) -> None:
    enqueue(three[1], "a", deduplication_id="k")
    found = second_after(three, in_background, ends, workflow_id="b", deduplication_id="k")

    assert (found["verdict"], found["holder_id"]) == (verdict, holder)
    headers = {each["workflow_id"] for each in read(three[0], "select workflow_id from pyengine.workflows")}
    assert headers == ({"a"} if holder else {"b"})


@pytest.mark.parametrize(("ends", "verdict"), [("commit", "yours"), ("rollback", "deduplicated")])
def test_a_key_whose_holder_is_being_cancelled_is_taken(
    three: tuple[Connection, Connection, Connection], in_background: InBackground, ends: str, verdict: str
) -> None:
    observer, one, two = three
    # The glance sees the holder, which is still there for everybody else.
    enqueue(observer, "a", deduplication_id="k")
    cancel(one, "a")
    glance = enqueue(two, "b", deduplication_id="k")
    getattr(one, ends)()

    assert glance["verdict"] == "deduplicated"
    assert enqueue(two, "b", deduplication_id="k")["verdict"] == verdict


def test_a_holder_that_vanishes_under_the_insert_gives_way(
    three: tuple[Connection, Connection, Connection], session_factory: NewSession, in_background: InBackground
) -> None:
    """The insert waits for a holder that is committed, and gone again before it is looked at."""
    observer, one, two = three
    enqueue(one, "a", deduplication_id="k")
    waiting = in_background(enqueue, two, "b", deduplication_id="k")
    wait_until_blocked(observer, two, by=one)
    cancel(one, "a")
    one.commit()

    assert waiting.result(10)["verdict"] == "yours"


@pytest.fixture
def partitioned(new_executor: NewExecutor, session: Connection) -> Executor:
    put_queue(session, is_partitioned=True)
    return new_executor()


def lanes(connection: Connection) -> list[str]:
    return [lane["partition_key"] for lane in read(connection, "select partition_key from pyengine.lanes")]


def test_an_open_enqueue_keeps_its_lane_from_a_claim_that_empties_it(
    partitioned: Executor, session_factory: NewSession, healthy: None
) -> None:
    observer, user = session_factory(), session_factory()
    enqueue(observer, "w0", partition_key="a")
    user.autocommit = False
    enqueue(user, "w1", partition_key="a")

    assert claim(partitioned) == ["w0"]
    assert lanes(observer) == ["a"]
    user.commit()
    assert claim(partitioned) == ["w1"]
    assert lanes(observer) == []


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_an_enqueue_waits_for_a_claim_that_deletes_its_lane(
    partitioned: Executor, session_factory: NewSession, in_background: InBackground, healthy: None, ends: str
) -> None:
    observer, user = session_factory(), session_factory()
    enqueue(observer, "w0", partition_key="a")
    partitioned.connection.autocommit = False
    assert claim(partitioned) == ["w0"]
    waiting = in_background(enqueue, user, "w1", partition_key="a")
    wait_until_blocked(observer, user, by=partitioned.connection)
    getattr(partitioned.connection, ends)()
    partitioned.connection.autocommit = True

    assert waiting.result(10)["verdict"] == "yours"
    assert lanes(observer) == ["a"]
    assert claim(partitioned) == (["w1"] if ends == "commit" else ["w0", "w1"])


def test_two_claims_of_one_partition_follow_each_other(
    partitioned: Executor, new_executor: NewExecutor, session: Connection
) -> None:
    other = new_executor()
    for place in range(3):
        enqueue(session, f"w{place}", partition_key="a")
    partitioned.connection.autocommit = False
    first = claim(partitioned, limit=1)
    meanwhile = claim(other)
    partitioned.connection.commit()

    assert (first, meanwhile, claim(other)) == (["w0"], ["busy"], ["w1", "w2"])


def test_lanes_survive_a_storm(
    new_executor: NewExecutor, session: Connection, in_background: InBackground, healthy: None
) -> None:
    """Partitions that are emptied and refilled all the time lose nothing and leave nothing behind."""
    put_queue(session, partition_concurrency=1)
    writers, claimers = [new_executor() for _ in range(2)], [new_executor() for _ in range(2)]

    def write(executor: Executor) -> None:
        for place in range(60):
            enqueue(executor.connection, f"{executor.id}-{place}", partition_key=f"k{place % 2}")

    def drain(executor: Executor) -> int:
        done = 0
        for fence in range(executor.id * 10_000, executor.id * 10_000 + 400):
            for workflow_id in claim(executor, limit=3, fence=fence):
                if workflow_id != "busy":
                    executor.finish(workflow_id, fence)
                    done += 1
        return done

    writing = [in_background(write, each) for each in writers]
    drained = sum(each.result(90) for each in [in_background(drain, each) for each in claimers])
    for each in writing:
        each.result(90)
    while rest := sum(drain(each) for each in claimers):
        drained += rest

    assert drained == 120
    assert lanes(session) == []


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_two_resumes(
    three: tuple[Connection, Connection, Connection],
    new_executor: NewExecutor,
    in_background: InBackground,
    ends: str,
) -> None:
    observer, one, two = three
    enqueue(observer, "w")
    cancel(observer, "w")
    assert resume(one, "w") == "resumed"
    waiting = in_background(resume, two, "w")
    wait_until_blocked(observer, two, by=one)
    getattr(one, ends)()

    assert waiting.result(10) == "resumed"
    assert claim(new_executor(), "_dbos_internal_queue") == ["w"]
