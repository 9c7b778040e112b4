"""Transactions of several deduplicated enqueues against each other: in the order of the keys, nobody deadlocks."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, read
from plugins.queueing import cancel, claim, enqueue
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]
InBackground = Callable[..., Future[Any]]


def put(connection: Connection, user: str, keys: str) -> list[str]:
    """One transaction: a workflow of the user's for each key. What came of each."""
    with connection.transaction():
        return [put_one(connection, user, key) for key in keys]


def put_one(connection: Connection, user: str, key: str) -> str:
    verdict: str = enqueue(connection, f"{user}-{key}", deduplication_id=key)["verdict"]
    return verdict


def ids(connection: Connection) -> list[str]:
    found = read(connection, "select workflow_id from pyengine.workflows order by workflow_id")
    assert found == read(connection, "select workflow_id from pyengine.in_flight order by workflow_id")
    return [each["workflow_id"] for each in found]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_in_the_order_of_the_keys_the_second_waits(
    session_factory: NewSession, in_background: InBackground, ends: str
) -> None:
    observer, one, two = (session_factory() for _ in range(3))
    one.autocommit = False
    assert [put_one(one, "one", key) for key in "bc"] == ["yours", "yours"]
    waiting = in_background(put, two, "two", "abcd")
    wait_until_blocked(observer, two, by=one)
    assert put_one(one, "one", "e") == "yours"
    getattr(one, ends)()

    taken = "deduplicated" if ends == "commit" else "yours"
    assert waiting.result(10) == ["yours", taken, taken, "yours"]
    assert ids(observer) == (
        ["one-b", "one-c", "one-e", "two-a", "two-d"] if ends == "commit" else ["two-a", "two-b", "two-c", "two-d"]
    )


def test_in_opposite_orders_one_is_told_to_try_again_and_has_left_nothing(
    session_factory: NewSession, in_background: InBackground
) -> None:
    observer, one, two = (session_factory() for _ in range(3))
    for each in (one, two):
        each.autocommit = False
    assert (put_one(one, "one", "a"), put_one(two, "two", "b")) == ("yours", "yours")
    first = in_background(put_one, one, "one", "b")
    wait_until_blocked(observer, one, by=two)
    second = in_background(put_one, two, "two", "a")
    ended: dict[str, str | None] = {}
    for connection, user, waiting in ((one, "one", first), (two, "two", second)):
        try:
            ended[user] = waiting.result(30)
            connection.commit()
        except psycopg.Error as caught:
            ended[user] = caught.sqlstate
            connection.rollback()

    assert sorted(map(str, ended.values())) == ["40P01", "yours"]
    winner = next(user for user, verdict in ended.items() if verdict == "yours")
    assert ids(observer) == [f"{winner}-a", f"{winner}-b"]


def test_a_storm_in_the_order_of_the_keys_knows_no_deadlock(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground, healthy: None
) -> None:
    """Keys are taken by some while others free them, by finishing or cancelling: each key has at most one holder."""
    observer, executor = session_factory(), new_executor()
    users = [session_factory() for _ in range(4)]
    together = threading.Barrier(len(users) + 1)

    def enqueue_all(place: int) -> int:
        together.wait()
        chance, taken = random.Random(place), 0
        for turn in range(40):
            keys = "".join(sorted(chance.sample("abcdef", 4)))
            taken += put(users[place], f"{place}-{turn}", keys).count("yours")
        return taken

    writing = [in_background(enqueue_all, place) for place in range(len(users))]
    together.wait()
    ended: set[str] = set()
    is_last = False
    while not is_last:
        # Looked at before the claim, so that the last one finds all.
        is_last = all(each.done() for each in writing)
        for fence, workflow_id in enumerate(claim(executor, limit=1000, fence=len(ended) + 1)):
            if fence % 2:
                assert cancel(observer, workflow_id) == "cancelled"
            else:
                held = read(observer, "select fence from pyengine.in_flight where workflow_id = %s", workflow_id)
                assert executor.finish(workflow_id, held[0]["fence"]) == "ok"
            assert workflow_id not in ended
            ended.add(workflow_id)

    assert len(ended) == sum(each.result(30) for each in writing)
