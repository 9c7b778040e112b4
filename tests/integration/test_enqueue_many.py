"""Queue.enqueue_many: as so many enqueues, in a few transactions."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.fleet import Facts, Fleet
from pyengine import DBOS, Queue, SetEnqueueOptions, SetWorkflowAttributes, SetWorkflowID, SetWorkflowTimeout
from pyengine.errors import DBOSAwaitedWorkflowCancelledError, DBOSException, DBOSQueueDeduplicatedError
from pyengine.runtime import bulk

TRANSACTIONS = "select count(distinct xmin::text) from pyengine.workflows"


def ids_in_order(facts: Facts) -> list[str]:
    return facts.all("select workflow_id from pyengine.in_flight order by priority, seq")


@pytest.fixture
def flow(dbos: type[DBOS]) -> Callable[..., Any]:
    @DBOS.workflow(name="flow")
    def flow(*args: Any, **kwargs: Any) -> list[Any]:
        return [*args, kwargs]

    return flow


def test_each_call_gets_its_handle_in_order(flow: Callable[..., Any]) -> None:
    queue = Queue("many")
    calls: list[Any] = [(1,), (2, "b"), {"c": 3}, (), {}]
    handles = queue.enqueue_many(flow, calls)

    assert [each.get_result() for each in handles] == [[1, {}], [2, "b", {}], [{"c": 3}], [{}], [{}]]
    assert queue.enqueue_many(flow, []) == []


def test_async_code_too(dbos: type[DBOS]) -> None:
    queue = Queue("many")

    @DBOS.step()
    async def double(number: int) -> int:
        return 2 * number

    async def program() -> list[int]:
        handles = await queue.enqueue_many_async(double, ((number,) for number in range(20)))
        return [await each.get_result() for each in handles]

    assert asyncio.run(program()) == [2 * number for number in range(20)]


def test_rows_share_transactions_and_keep_their_order(launch: Callable[..., type[DBOS]], facts: Facts) -> None:
    launch()
    queue = Queue("many")

    @DBOS.workflow()
    def flow(number: int) -> int:
        return number

    with SetEnqueueOptions(app_version="nobody's"):
        handles = queue.enqueue_many(flow, [(number,) for number in range(600)])

    assert ids_in_order(facts) == [each.workflow_id for each in handles]
    assert facts.one(TRANSACTIONS) == 3
    for each in handles:
        DBOS.cancel_workflow(each.workflow_id)


def test_large_arguments_are_spread(dbos: type[DBOS], facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MAX_BYTES", 10_000)
    queue = Queue("many")

    @DBOS.workflow()
    def length(text: str) -> int:
        return len(text)

    sizes = [4000, 4000, 4000, 20_000, 1, 1]
    handles = queue.enqueue_many(length, [("x" * size,) for size in sizes])
    assert [each.get_result() for each in handles] == sizes
    assert facts.one(TRANSACTIONS) == 4


def test_what_blocks_ask_for_holds_for_each(flow: Callable[..., Any], facts: Facts) -> None:
    queue = Queue("many", priority_enabled=True)
    with (
        SetEnqueueOptions(priority=7, delay_seconds=3600, app_version="v9"),
        SetWorkflowTimeout(60),
        SetWorkflowAttributes({"a": 1}),
    ):
        handles = queue.enqueue_many(flow, [(1,), (2,)])

    found = facts.all(
        "select array[status, priority::text, app_version, timeout::text, attributes::text]"
        " from pyengine.in_flight natural join pyengine.workflows"
    )
    assert found == [["DELAYED", "7", "v9", "00:01:00", '{"a": 1}']] * 2
    for each in handles:
        DBOS.cancel_workflow(each.workflow_id)


def test_partitions(flow: Callable[..., Any]) -> None:
    queue = Queue("parts", partition_queue=True, concurrency=1)
    with pytest.raises(DBOSException, match="partition"):
        queue.enqueue_many(flow, [(1,), (2,)])
    with SetEnqueueOptions(queue_partition_key="red"):
        handles = queue.enqueue_many(flow, [(1,), (2,)])

    assert [each.get_result()[0] for each in handles] == [1, 2]


def test_a_deduplication_id_has_one_holder(flow: Callable[..., Any], facts: Facts) -> None:
    queue = Queue("many")
    with SetEnqueueOptions(deduplication_id="k"), pytest.raises(DBOSException, match="one workflow at a time"):
        queue.enqueue_many(flow, [(1,), (2,)])
    assert facts.all("select workflow_id from pyengine.workflows") == []

    with SetEnqueueOptions(deduplication_id="k", delay_seconds=3600):
        (holder,) = queue.enqueue_many(flow, [(1,)])
        with pytest.raises(DBOSQueueDeduplicatedError):
            queue.enqueue_many(flow, [(2,)])
    with SetEnqueueOptions(deduplication_id="k", duplication_policy="return-existing"):
        handles = queue.enqueue_many(flow, [(3,), (4,)])
    assert [each.workflow_id for each in handles] == [holder.workflow_id] * 2
    DBOS.cancel_workflow(holder.workflow_id)


def test_an_id_names_the_first(flow: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    queue = Queue("many")
    with caplog.at_level(logging.WARNING), SetWorkflowID("first"):
        handles = queue.enqueue_many(flow, [(1,), (2,), (3,)])

    assert [each.workflow_id == "first" for each in handles] == [True, False, False]
    assert [each.get_result()[0] for each in handles] == [1, 2, 3]
    with SetWorkflowID("first"):
        again = queue.enqueue_many(flow, [(9,), (8,)])
    assert [each.get_result()[0] for each in again] == [1, 8]


@pytest.mark.parametrize("wrong", [["ab", "cd"], [(1,), 2], [[1]], [None]])
def test_a_call_is_a_tuple_or_a_dict(flow: Callable[..., Any], facts: Facts, wrong: Any) -> None:
    with pytest.raises(TypeError, match="tuple of arguments"):
        Queue("many").enqueue_many(flow, wrong)
    assert facts.all("select workflow_id from pyengine.workflows") == []


def test_somebody_elses_open_transaction_delays_but_does_not_fail(
    flow: Callable[..., Any], session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    """It holds the key that one of the rows asks for."""
    queue = Queue("many")
    other = session_factory(autocommit=False)
    other.execute(
        "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
        " values ('first', 'flow', 'test-app', 1, now())"
    )
    with SetWorkflowID("first"):
        call = asyncio.new_event_loop()
        try:

            async def program() -> list[Any]:
                waiting = asyncio.ensure_future(queue.enqueue_many_async(flow, [(1,), (2,)]))
                done, _ = await asyncio.wait({waiting}, timeout=0.5)
                assert not done
                other.rollback()
                return await waiting

            handles = call.run_until_complete(program())
        finally:
            call.close()
    assert [DBOS.get_result(each.workflow_id) for each in handles] == [[1, {}], [2, {}]]


# -- in workflows --------------------------------------------------------------------------------------


def test_in_a_workflow_each_is_a_child_and_a_step(dbos: type[DBOS]) -> None:
    queue = Queue("many")

    @DBOS.workflow(name="child")
    def child(number: int) -> int:
        return number

    @DBOS.workflow(name="parent")
    def parent() -> list[int]:
        before = queue.enqueue(child, 0)
        handles = queue.enqueue_many(child, [(1,), (2,)])
        return [each.get_result() for each in [before, *handles, queue.enqueue(child, 3)]]

    with SetWorkflowID("p"):
        assert parent() == [0, 1, 2, 3]
    steps = DBOS.list_workflow_steps("p")
    assert [(step["function_name"], step["child_workflow_id"]) for step in steps[:3]] == [
        ("child", "p-1"), ("child", "p-2"), ("child", "p-3"),
    ]  # fmt: skip


def test_calls_side_by_side_draw_the_same_numbers_in_every_run(dbos: type[DBOS]) -> None:
    queue = Queue("many")

    @DBOS.workflow(name="child")
    async def child(name: str) -> str:
        return name

    @DBOS.workflow(name="parent")
    async def parent() -> dict[str, list[str]]:
        found = await asyncio.gather(*[queue.enqueue_many_async(child, [(name,)] * 3) for name in ("a", "b")])
        for handles in found:
            for each in handles:
                await each.get_result()
        return {name: [each.workflow_id for each in handles] for name, handles in zip("ab", found, strict=True)}

    async def program() -> Any:
        with SetWorkflowID("p"):
            return await parent()

    assert asyncio.run(program()) == {"a": ["p-1", "p-2", "p-3"], "b": ["p-4", "p-5", "p-6"]}


def test_a_cancelled_parent_enqueues_no_more(dbos: type[DBOS], facts: Facts) -> None:
    queue = Queue("many")

    @DBOS.workflow(name="child")
    def child(number: int) -> int:
        return number

    @DBOS.workflow(name="parent")
    def parent() -> None:
        facts.execute("select pyengine.cancel_workflow('p')")
        queue.enqueue_many(child, [(1,), (2,)])

    with SetWorkflowID("p"), pytest.raises(DBOSAwaitedWorkflowCancelledError):
        parent()
    assert facts.all("select workflow_id from pyengine.workflows") == ["p"]


def test_a_replay_enqueues_what_is_missing(fleet: Fleet, launch: Any, facts: Facts) -> None:
    """Killed after two of the transactions: nothing is enqueued twice, and nothing left out."""
    fleet.define(
        """
        from pyengine.db.database import Database
        from pyengine.runtime import bulk
        bulk.MAX_ROWS = 5
        queue = Queue("many")
        real, count = bulk._write, 0

        async def write_and_die(*arguments):
            global count
            left_over = await real(*arguments)
            count += 1
            if count == 2 and open("turn").read() == "first":
                os.kill(os.getpid(), 9)
            return left_over

        bulk._write = write_and_die

        @DBOS.workflow(name="child")
        def child(number):
            return number

        @DBOS.workflow(name="parent")
        def parent():
            handles = queue.enqueue_many(child, [(number,) for number in range(23)])
            return [handle.get_result() for handle in handles]
        """
    )
    turn = fleet.folder / "turn"
    turn.write_text("first")
    first = fleet.start(after_launch='with SetWorkflowID("p"): DBOS.start_workflow(parent)', is_up=False)
    first.wait(60)
    assert facts.one("select count(*) from pyengine.workflows where parent_id = 'p'") == 10
    turn.write_text("second")
    fleet.start()
    launch(application_version="another")

    assert DBOS.get_result("p") == list(range(23))
    children = facts.all("select workflow_id from pyengine.workflows where parent_id = 'p'")
    assert Counter(children) == Counter(f"p-{number}" for number in range(1, 24))
