"""Group commit against a database that is no more than a gate: who leads, who is told, and when."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from plugins.committing import FakeDatabase, Users, finish
from plugins.sessions import wait_until
from pyengine.db.batches import CHECKPOINTS, FINISHES
from pyengine.errors import ExecutorFenced, ExecutorStopping
from pyengine.runtime import committer as module
from pyengine.runtime.committer import Committer

# -- who leads -----------------------------------------------------------------------------------------


def test_a_lone_caller_commits_itself(users: Users, database: FakeDatabase) -> None:
    database.open()

    assert users.enter("a").result(10) == "alone a"
    assert database.calls == [("finish_workflow", ["a"])]
    assert users.committer._thread is None


def test_what_comes_while_a_commit_is_in_flight_goes_together(users: Users, database: FakeDatabase) -> None:
    first = users.enter("a")
    others = [users.enter(each) for each in "bcd"]
    database.let()

    assert first.result(10) == "alone a"
    wait_until(lambda: len(database.calls) == 2)
    assert not any(each.done() for each in others)  # nobody is told before the commit
    database.let()
    assert [each.result(10) for each in others] == ["ok"] * 3
    assert database.calls[1] == ("finish_workflows", ["b", "c", "d"])
    assert not users.committer._is_led


def test_the_lead_is_passed_on_to_who_waits_longest(users: Users, database: FakeDatabase) -> None:
    """A leader is done with its own row; who comes meanwhile leads for those that come after."""
    first = users.enter("a")
    second = users.enter("b")
    database.let()
    first.result(10)
    wait_until(lambda: len(database.calls) == 2)
    third, fourth = users.enter("c"), users.enter("d")
    database.let(2)

    assert (second.result(10), third.result(10), fourth.result(10)) == ("alone b", "ok", "ok")


def test_kinds_take_turns(users: Users, database: FakeDatabase) -> None:
    users.enter("a")
    for each in "bc":
        users.enter(each)
    users.enter("d", CHECKPOINTS)
    users.enter("e", FINISHES, nonce=3)
    for each in "fg":
        users.enter(each)
    database.open()

    wait_until(lambda: len(database.done) == 4)
    assert [ids for _, ids in database.done] == [["a"], ["b", "c", "f", "g"], ["d"], ["e"]]


def test_batches_have_a_size(users: Users, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    users.enter("a")
    sizes = {"b": 1, "c": 1, "d": 1, "e": 60, "f": 41, "g": 59, "h": 101, "i": 1}
    waiting = [users.enter(each, size=size) for each, size in sizes.items()]
    database.open()
    for each in waiting:
        each.result(10)

    together = [ids for name, ids in database.done]
    assert together[:3] == [["a"], ["b", "c", "d"], ["e"]]
    assert sorted(map(tuple, together[3:])) == [("f", "g"), ("h",), ("i",)]


def test_a_large_row_is_not_led(users: Users, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    large = users.enter("large", size=101)
    small = users.enter("small")
    wait_until(lambda: len(database.calls) == 2)
    database.let(2)

    assert (large.result(10), small.result(10)) == ("alone large", "alone small")


# -- coroutines ----------------------------------------------------------------------------------------


def in_loop(make: Callable[[], Any], threads: ThreadPoolExecutor) -> Future[Any]:
    return threads.submit(lambda: asyncio.run(make()))


def test_coroutines_of_two_loops_and_threads_share_batches(
    users: Users, database: FakeDatabase, threads: ThreadPoolExecutor
) -> None:
    first = users.enter("a")

    async def several(name: str) -> list[Any]:
        return await asyncio.gather(*[users.committer.commit_async(FINISHES, finish(f"{name}{n}")) for n in range(5)])

    loops = [in_loop(lambda name=name: several(name), threads) for name in "bc"]  # type: ignore[misc]
    wait_until(lambda: users.waiting() == 10)
    last = users.enter("d")
    database.let()
    assert first.result(10) == "alone a"
    wait_until(lambda: len(database.calls) == 2)
    assert not any(each.done() for each in [*loops, last])
    database.let()

    assert [each.result(10) for each in [*loops, last]] == [["ok"] * 5, ["ok"] * 5, "ok"]
    assert len(database.calls[1][1]) == 11
    assert not users.committer._is_led


def test_threads_are_served_while_coroutines_keep_coming(
    users: Users, database: FakeDatabase, threads: ThreadPoolExecutor
) -> None:
    ended = threading.Event()

    async def endless() -> None:
        while not ended.is_set():
            await users.committer.commit_async(CHECKPOINTS, finish("c"))

    async def many() -> None:
        await asyncio.gather(*[endless() for _ in range(5)])

    loop = in_loop(many, threads)
    database.open()
    try:
        for place in range(50):
            assert threads.submit(users.committer.commit, FINISHES, finish(f"t{place}")).result(10) in (
                "ok",
                f"alone t{place}",
            )
    finally:
        ended.set()
    loop.result(10)


def test_a_cancelled_coroutine_harms_nobody_and_its_row_is_written(
    users: Users, database: FakeDatabase, threads: ThreadPoolExecutor
) -> None:
    first = users.enter("a")
    entered = threading.Event()

    async def program() -> Any:
        given_up = asyncio.ensure_future(users.committer.commit_async(FINISHES, finish("b")))
        other = asyncio.ensure_future(users.committer.commit_async(FINISHES, finish("c")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up})
        assert given_up.cancelled()
        entered.set()
        return await other

    loop = in_loop(program, threads)
    assert entered.wait(10)
    database.open()

    assert (first.result(10), loop.result(10)) == ("alone a", "ok")
    assert ("finish_workflows", ["b", "c"]) in database.done


def test_a_loop_that_was_closed_harms_nobody(users: Users, database: FakeDatabase, threads: ThreadPoolExecutor) -> None:
    first = users.enter("a")

    async def give_up() -> None:
        asyncio.ensure_future(users.committer.commit_async(FINISHES, finish("b"))).cancel()

    async def leave() -> None:
        task = asyncio.ensure_future(users.committer.commit_async(FINISHES, finish("c")))
        await asyncio.sleep(0)
        task.cancel()

    in_loop(give_up, threads).result(10)
    in_loop(leave, threads).result(10)
    last = users.enter("d")
    database.open()

    assert (first.result(10), last.result(10)) == ("alone a", "ok")


# -- what goes wrong -----------------------------------------------------------------------------------


def test_a_bad_row_fails_alone(users: Users, database: FakeDatabase) -> None:
    users.enter("a")
    good, bad, other = (users.enter(each) for each in ("good", "bad", "other"))
    database.bad = {"bad"}
    database.open()

    assert (good.result(10), other.result(10)) == ("alone good", "alone other")
    with pytest.raises(ValueError, match="bad"):
        bad.result(10)


def test_a_blocked_row_stalls_nobody_and_is_written_in_the_end(users: Users, database: FakeDatabase) -> None:
    database.open()
    database.blocked = {"lone", *(f"blocked{place}" for place in range(20))}
    blocked = [users.enter("lone"), *(users.enter(f"blocked{place}") for place in range(20))]

    assert [users.enter(f"free{place}").result(10) for place in range(20)]
    assert not any(each.done() for each in blocked)
    database.blocked = set()
    assert blocked[0].result(10) == "alone lone"
    for each in blocked:
        each.result(10)


def test_rows_left_over_go_singly(users: Users, database: FakeDatabase) -> None:
    users.enter("a")
    waiting = {each: users.enter(each) for each in "bcd"}
    database.left_over = {"b", "c"}
    database.open()

    assert {each: future.result(10) for each, future in waiting.items()} == {"b": "alone b", "c": "alone c", "d": "ok"}


@pytest.mark.parametrize("error", [ExecutorFenced("dead"), ExecutorStopping("over")])
def test_the_end_of_the_executor_reaches_everybody(
    users: Users, database: FakeDatabase, threads: ThreadPoolExecutor, error: BaseException
) -> None:
    first = users.enter("a")
    others = [users.enter(each) for each in "bc"]

    async def program() -> None:
        await users.committer.commit_async(FINISHES, finish("d"))

    others.append(in_loop(program, threads))
    wait_until(lambda: users.waiting() == 3)
    database.fails = error
    database.open()

    for each in [first, *others]:
        assert type(each.exception(10)) is type(error)
    assert len(database.calls) == 2  # asked once for all of them
    assert not users.committer._is_led


def test_after_the_stop_nobody_waits(users: Users, database: FakeDatabase, threads: ThreadPoolExecutor) -> None:
    database.blocked = {"a"}
    blocked = users.enter("a")
    database.let(1)
    wait_until(lambda: not users.committer._is_led)
    database.fails = ExecutorStopping("over")
    database.open()
    users.committer.stop()

    async def late() -> None:
        await users.committer.commit_async(FINISHES, finish("b"))

    for each in (blocked, in_loop(late, threads), threads.submit(users.committer.commit, FINISHES, finish("c"))):
        assert isinstance(each.exception(10), ExecutorStopping)
    if users.committer._thread is not None:
        users.committer._thread.join(10)
        assert not users.committer._thread.is_alive()


# -- Ctrl-C --------------------------------------------------------------------------------------------


def test_the_main_thread_neither_leads_nor_follows(users: Users, database: FakeDatabase) -> None:
    """Ctrl-C may come between any two instructions of it."""
    users.enter("a")
    waiting = users.enter("b")
    calls = len(database.calls)
    database.open()

    assert users.committer.commit(FINISHES, finish("main")) == "main"
    assert ("main finish_workflow", ["main"]) in database.calls[calls:]
    assert waiting.result(10) == "alone b"


class _Thrown(BaseException):
    """What a debugger or a timeout library throws into a thread."""


def test_a_leader_that_is_broken_off_loses_no_row_and_no_lead(users: Users, database: FakeDatabase) -> None:
    first = users.enter("a")
    second, third, fourth = (users.enter(each) for each in "bcd")
    other_kind = users.enter("e", CHECKPOINTS)
    database.let()
    first.result(10)
    wait_until(lambda: len(database.calls) == 2)
    database.fails = _Thrown()
    database.let()
    wait_until(lambda: second.done())
    database.fails = None
    database.open()

    assert isinstance(second.exception(10), _Thrown)
    assert (third.result(10), fourth.result(10)) == ("alone c", "alone d")
    assert other_kind.result(10) == "alone e"
    assert not users.committer._is_led


def test_a_follower_that_is_broken_off_loses_no_row_and_no_lead(
    users: Users, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thrown out of its wait at the very moment it is told to lead."""
    real = module._ThreadWaiter.wait
    broken = threading.Event()

    def wait(self: Any) -> bool:
        told = real(self)
        if not broken.is_set():
            broken.set()
            raise _Thrown
        return told

    monkeypatch.setattr(module._ThreadWaiter, "wait", wait)
    first = users.enter("a")
    gone, stays = users.enter("b"), users.enter("c")
    database.open()

    assert first.result(10) == "alone a"
    assert isinstance(gone.exception(10), _Thrown)
    assert stays.result(10) == "ok"
    assert ("finish_workflows", ["b", "c"]) in database.done


@pytest.mark.parametrize("is_woken", [True, False])
def test_who_follows_one_that_is_broken_off_is_woken_all_the_same(
    users: Users, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch, is_woken: bool
) -> None:
    """Each thread that is woken wakes another. The first ones are thrown out of their wait, after it or before."""
    real = module._ThreadWaiter.wait
    count, waiters = 4 * module._AWAKE, list[Any]()

    def wait(self: Any) -> bool:
        waiters.append(self)
        # The first of all is told to lead.
        if not 1 <= waiters.index(self) <= module._AWAKE:
            return real(self)
        if is_woken:
            real(self)
        else:
            wait_until(lambda: self.following is not None, what="somebody to wake")
        raise _Thrown

    monkeypatch.setattr(module._ThreadWaiter, "wait", wait)
    first = users.enter("a")
    others = []
    for place in range(count):
        others.append(users.enter(f"b{place}"))
        wait_until(lambda: len(waiters) == len(others), what="it waits")
    database.open()

    assert first.result(10) == "alone a"
    gone = others[1 : module._AWAKE + 1]
    assert all(isinstance(each.exception(10), _Thrown) for each in gone)
    assert [each.result(10) for each in others if each not in gone] == ["ok"] * (count - len(gone))


def test_a_coroutine_that_is_broken_off_while_it_calls_for_a_lead_leaves_none_behind(
    users: Users, database: FakeDatabase, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.open()
    real = users.committer._call_thread

    def call_and_be_broken_off() -> None:
        real()
        raise KeyboardInterrupt

    async def program() -> None:
        with pytest.raises(KeyboardInterrupt):
            await users.committer.commit_async(FINISHES, finish("a"))
        monkeypatch.undo()

    monkeypatch.setattr(users.committer, "_call_thread", call_and_be_broken_off)
    in_loop(program, threads).result(10)

    assert users.enter("b").result(10)
    wait_until(lambda: [ids for _, ids in database.done].count(["a"]) or any("a" in ids for _, ids in database.done))


def test_many_threads_and_coroutines_get_each_their_own_answer(
    committer: Committer, database: FakeDatabase, threads: ThreadPoolExecutor
) -> None:
    database.open()
    database.left_over = {f"t{place}" for place in range(0, 200, 7)}

    async def several() -> list[Any]:
        return await asyncio.gather(*[committer.commit_async(FINISHES, finish(f"c{place}")) for place in range(500)])

    loop = in_loop(several, threads)
    waiting = [threads.submit(committer.commit, FINISHES, finish(f"t{place}")) for place in range(200)]

    assert {each.result(30) in ("ok", f"alone t{place}") for place, each in enumerate(waiting)} == {True}
    assert all(waiting[place].result(0) == f"alone t{place}" for place in range(0, 200, 7))
    assert len(loop.result(30)) == 500
    until = time.monotonic() + 10
    while committer._is_led:
        assert time.monotonic() < until
        time.sleep(0.005)
