"""Group commit of what nobody waits for: whoever has the verdict hands it on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from plugins.committing import FakeDatabase, Users, finish
from plugins.sessions import wait_until
from pyengine.db.batches import FINISHES
from pyengine.errors import ExecutorFenced, ExecutorStopping
from pyengine.runtime.committer import Committer, Request


class Verdicts:
    """What was told, of whom, and in which thread."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.threads: dict[str, str] = {}

    def __call__(self, request: Request[Any]) -> None:
        workflow_id = request.arguments["workflow_id"]
        assert workflow_id not in self.told, "told twice"
        self.threads[workflow_id] = threading.current_thread().name
        self.told[workflow_id] = request.error if request.error is not None else request.result

    def wait(self, count: int) -> dict[str, Any]:
        wait_until(lambda: len(self.told) >= count)
        return self.told


@pytest.fixture
def verdicts() -> Verdicts:
    return Verdicts()


@pytest.fixture
def later(users: Users, verdicts: Verdicts) -> Callable[..., Future[None]]:
    def enter(workflow_id: str, *, may_lead: bool = True, then: Callable[[Any], None] = verdicts) -> Future[None]:
        waiting, calls = users.waiting(), len(users.database.calls)
        committer = users.committer
        future = users.threads.submit(
            lambda: committer.commit_later(FINISHES, finish(workflow_id), then, may_lead=may_lead)
        )
        wait_until(lambda: users.waiting() > waiting or len(users.database.calls) > calls, what="a row comes")
        return future

    return enter


Later = Callable[..., "Future[None]"]


def test_who_comes_alone_and_may_lead_commits_itself(later: Later, database: FakeDatabase, verdicts: Verdicts) -> None:
    entered = later("a")
    assert not entered.done()
    database.let()
    entered.result(10)

    assert verdicts.told == {"a": "alone a"}


def test_who_comes_while_others_commit_goes_on_at_once(
    users: Users, later: Later, database: FakeDatabase, verdicts: Verdicts
) -> None:
    leading = users.enter("a")
    for each in "bc":
        later(each).result(10)  # it does not wait
    awaited = users.enter("d")
    assert verdicts.told == {}  # nobody is told before the commit
    database.let(2)

    assert (leading.result(10), awaited.result(10)) == ("alone a", "ok")
    assert verdicts.wait(2) == {"b": "ok", "c": "ok"}
    assert database.calls[1] == ("finish_workflows", ["b", "c", "d"])


def test_a_loop_leaves_it_to_the_committers_thread(
    committer: Committer, database: FakeDatabase, verdicts: Verdicts
) -> None:
    async def come() -> None:
        for each in "ab":
            committer.commit_later(FINISHES, finish(each), verdicts, may_lead=False)

    asyncio.run(come())
    database.open()

    verdicts.wait(2)
    assert set(verdicts.threads.values()) == {"pyengine-committer"}


def test_nobody_is_left_when_only_unawaited_rows_wait(
    users: Users, later: Later, database: FakeDatabase, verdicts: Verdicts
) -> None:
    """The leader is done with its own row, and nobody who waits could take the lead."""
    leading = users.enter("a")
    later("b")
    database.let()
    leading.result(10)
    database.let()

    assert verdicts.wait(1) == {"b": "alone b"}
    wait_until(lambda: not users.committer._is_led)


def test_a_row_that_is_blocked_or_refused_is_told_of_all_the_same(
    users: Users, later: Later, database: FakeDatabase, verdicts: Verdicts
) -> None:
    database.blocked, database.bad = {"blocked"}, {"bad"}
    leading = users.enter("a")
    for each in ("blocked", "bad", "good"):
        later(each).result(10)
    database.open()
    leading.result(10)

    wait_until(lambda: {"bad", "good"} <= verdicts.told.keys())
    assert isinstance(verdicts.told["bad"], ValueError)
    assert verdicts.told["good"] == "alone good"
    database.blocked = set()
    wait_until(lambda: verdicts.told.get("blocked") == "alone blocked")


@pytest.mark.parametrize("error", [ExecutorFenced("dead"), ExecutorStopping("over")])
def test_the_end_of_the_executor_is_told(
    later: Later, database: FakeDatabase, verdicts: Verdicts, error: BaseException
) -> None:
    database.fails = error
    entered = later("a")
    database.open()
    entered.result(10)

    assert verdicts.told == {"a": error}


def test_what_follows_may_fail_and_harms_nobody(
    users: Users, later: Later, database: FakeDatabase, verdicts: Verdicts, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Any) -> None:
        raise ValueError("not my day")

    leading = users.enter("a")
    later("b", then=fail)
    later("c")
    awaited = users.enter("d")
    database.open()

    assert (leading.result(10), awaited.result(10)) == ("alone a", "ok")
    assert verdicts.wait(1) == {"c": "ok"}
    assert "not my day" in caplog.text


def test_after_the_stop_nothing_is_taken_on(committer: Committer, verdicts: Verdicts) -> None:
    committer.stop()
    with pytest.raises(ExecutorStopping):
        committer.commit_later(FINISHES, finish("a"), verdicts, may_lead=True)
    assert verdicts.told == {}
