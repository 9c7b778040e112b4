"""Queues as programs use them: order, limits, partitions, deduplication, delays, and work enqueued by workflows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from plugins.fleet import Facts, Fleet
from plugins.gate import Gate
from pyengine import DBOS, Queue, SetEnqueueOptions, SetWorkflowID, SetWorkflowTimeout
from pyengine.errors import (
    DBOSAwaitedWorkflowCancelledError,
    DBOSConflictingRegistrationError,
    DBOSException,
    DBOSQueueDeduplicatedError,
)

Launch = Callable[..., type[DBOS]]


def test_workflows_and_steps_sync_and_async_are_run_from_a_queue(dbos: type[DBOS]) -> None:
    queue = Queue("mixed")

    @DBOS.step()
    def double(number: int) -> int:
        return 2 * number

    @DBOS.step()
    async def double_async(number: int) -> int:
        return 2 * number

    @DBOS.workflow()
    def flow(number: int, *, plus: int = 0) -> int:
        return double(number) + plus

    @DBOS.workflow()
    async def flow_async(number: int) -> int:
        return await double_async(number)

    assert queue.enqueue(flow, 1, plus=5).get_result() == 7
    assert queue.enqueue(double, 2).get_result() == 4
    assert queue.enqueue(flow_async, 3).get_result() == 6  # type: ignore[comparison-overlap]
    assert queue.enqueue(double_async, 4).get_result() == 8  # type: ignore[comparison-overlap]

    async def program() -> list[Any]:
        handles: list[Any] = [await queue.enqueue_async(each, 5) for each in (flow, double, flow_async, double_async)]
        return [await handle.get_result() for handle in handles]

    assert asyncio.run(program()) == [10] * 4
    handle = queue.enqueue(flow, 1)
    handle.get_result()
    status = handle.get_status()
    assert (status.status, status.queue_name, status.name) == ("SUCCESS", "mixed", flow.__qualname__)


def test_an_error_of_a_queued_step_comes_back_as_itself(dbos: type[DBOS]) -> None:
    queue = Queue("failing")

    @DBOS.step()
    def fail() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        queue.enqueue(fail).get_result()


def test_first_come_first_served(dbos: type[DBOS], gate: Gate) -> None:
    queue = Queue("fifo", concurrency=1)
    order: list[int] = []

    @DBOS.workflow()
    def flow(number: int) -> None:
        gate.pass_through(number)
        order.append(number)

    handles = [queue.enqueue(flow, number) for number in range(30)]
    gate.open()
    for handle in handles:
        handle.get_result()
    assert order == list(range(30))
    assert gate.most == 1


def test_priority_goes_first_and_none_before_all(dbos: type[DBOS], gate: Gate) -> None:
    queue = Queue("urgent", concurrency=1, priority_enabled=True)
    order: list[str] = []

    @DBOS.workflow()
    def flow(name: str) -> None:
        gate.pass_through(name)
        order.append(name)

    handles = [queue.enqueue(flow, "first")]
    gate.wait_for(1)
    for name, priority in (("late", 9), ("soon", 2), ("soon too", 2), ("later", 8), ("none", None)):
        with SetEnqueueOptions(priority=priority):
            handles.append(queue.enqueue(flow, name))
    gate.open()
    for handle in handles:
        handle.get_result()
    assert order == ["first", "none", "soon", "soon too", "later", "late"]


def test_a_partition_key_and_a_partitioned_queue_go_together(dbos: type[DBOS], facts: Facts) -> None:
    plain, parted = Queue("plain"), Queue("parted", partition_queue=True)

    @DBOS.workflow()
    def flow() -> None:
        return None

    with pytest.raises(DBOSException, match="queue_partition_key"):
        parted.enqueue(flow)
    with SetEnqueueOptions(queue_partition_key="a"), pytest.raises(DBOSException, match="not partitioned"):
        plain.enqueue(flow)
    with (
        SetEnqueueOptions(queue_partition_key="a", deduplication_id="d"),
        pytest.raises(DBOSException, match="deduplication"),
    ):
        parted.enqueue(flow)
    assert facts.one("select count(*) from pyengine.workflows") == 0


def test_a_deduplication_id_is_held_while_its_workflow_is_unfinished(dbos: type[DBOS], gate: Gate) -> None:
    queue, other = Queue("once"), Queue("elsewhere")

    @DBOS.workflow()
    def flow(name: str) -> str:
        gate.pass_through(name)
        return name

    with SetEnqueueOptions(deduplication_id="key"):
        holder = queue.enqueue(flow, "holder")
        with pytest.raises(DBOSQueueDeduplicatedError) as refused:
            queue.enqueue(flow, "second")
        assert refused.value.deduplication_id == "key"
        free = other.enqueue(flow, "other queue")
    with SetEnqueueOptions(deduplication_id="key", duplication_policy="return-existing"):
        assert queue.enqueue(flow, "third").workflow_id == holder.workflow_id
    assert holder.get_status().deduplication_id == "key"
    gate.open()
    assert (holder.get_result(), free.get_result()) == ("holder", "other queue")
    with SetEnqueueOptions(deduplication_id="key"):
        assert queue.enqueue(flow, "next").get_result() == "next"


def test_cancelling_frees_the_deduplication_id(dbos: type[DBOS], gate: Gate) -> None:
    queue = Queue("once", concurrency=1)

    @DBOS.workflow()
    def flow(name: str) -> str:
        gate.pass_through(name)
        return name

    first = queue.enqueue(flow, "in the way")
    gate.wait_for(1)
    with SetEnqueueOptions(deduplication_id="key"):
        waiting = queue.enqueue(flow, "cancelled")
        DBOS.cancel_workflow(waiting.workflow_id)
        successor = queue.enqueue(flow, "successor")
    gate.open()
    assert first.get_result() == "in the way"
    with pytest.raises(DBOSAwaitedWorkflowCancelledError):
        waiting.get_result()
    assert successor.get_result() == "successor"
    assert gate.entered == ["in the way", "successor"]


def test_what_a_workflow_was_told_of_a_duplicate_holds_in_its_replay(launch: Launch, gate: Gate) -> None:
    launch()
    queue, parents = Queue("once"), Queue("parents")
    seen: list[tuple[str, str]] = []
    is_first = True

    @DBOS.workflow()
    def child(name: str) -> str:
        gate.pass_through(name)
        return name

    @DBOS.workflow()
    def parent() -> str:
        nonlocal is_first
        with SetEnqueueOptions(deduplication_id="key"):
            try:
                queue.enqueue(child, "second")
                refused = "no"
            except DBOSQueueDeduplicatedError:
                refused = "yes"
        with SetEnqueueOptions(deduplication_id="key", duplication_policy="return-existing"):
            found = queue.enqueue(child, "third").workflow_id
        seen.append((refused, found))
        if is_first:
            is_first = False
            DBOS.sleep(3600)
        return refused

    with SetEnqueueOptions(deduplication_id="key"), SetWorkflowID("holder"):
        holder = queue.enqueue(child, "holder")
    with SetWorkflowID("parent"):
        parents.enqueue(parent)
    while not seen:
        time.sleep(0.01)
    gate.open()
    holder.get_result()
    DBOS.cancel_workflow("parent")
    DBOS.resume_workflow("parent")
    until = time.monotonic() + 30
    while len(seen) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert seen == [("yes", "holder")] * 2
    DBOS.cancel_workflow("parent")


def test_a_delay_is_kept(dbos: type[DBOS], facts: Facts) -> None:
    queue = Queue("later")

    @DBOS.workflow()
    def flow() -> str:
        return "done"

    with SetEnqueueOptions(delay_seconds=1.0), SetWorkflowID("delayed"):
        delayed = queue.enqueue(flow)
    with SetEnqueueOptions(delay_seconds=0), SetWorkflowID("at once"):
        assert queue.enqueue(flow).get_result() == "done"
    status = delayed.get_status()
    assert status.status == "DELAYED"
    assert status.delay_until_epoch_ms is not None
    assert [each.workflow_id for each in DBOS.list_queued_workflows()] == ["delayed"]
    assert delayed.get_result() == "done"
    waited = facts.one(
        "select extract(epoch from o.claimed_at - w.created_at)::float8"
        " from pyengine.workflows as w join pyengine.outcomes as o using (workflow_id) where w.workflow_id = 'delayed'"
    )
    assert waited >= 1.0


def test_a_timeout_of_a_queued_workflow_begins_with_its_claim(dbos: type[DBOS], gate: Gate) -> None:
    queue = Queue("timed", concurrency=1)

    @DBOS.workflow()
    def busy() -> None:
        gate.pass_through("busy")

    @DBOS.workflow()
    def flow() -> str:
        return "in time"

    queue.enqueue(busy)
    gate.wait_for(1)
    with SetWorkflowTimeout(1.0):
        handle = queue.enqueue(flow)
    time.sleep(1.5)
    gate.open()
    assert handle.get_result() == "in time"


def test_work_for_another_version_waits_for_it(dbos: type[DBOS], fleet: Fleet) -> None:
    fleet.define(
        """
        queue = Queue("versioned")

        @DBOS.workflow(name="flow")
        def flow():
            return DBOS.application_version
        """
    )
    queue = Queue("versioned")

    @DBOS.workflow(name="flow")
    def flow() -> str:
        return "here"

    with SetEnqueueOptions(app_version="v7"):
        handle = queue.enqueue(flow)
    assert queue.enqueue(flow).get_result() == "here"
    assert handle.get_status().status == "ENQUEUED"
    fleet.start(version="v7")
    assert handle.get_result() == "v7"


def test_workflows_enqueue_children(dbos: type[DBOS], facts: Facts) -> None:
    queue = Queue("children")

    @DBOS.step()
    def square(number: int) -> int:
        return number**2

    @DBOS.workflow()
    def child(number: int) -> int:
        return square(number) + 1

    @DBOS.workflow()
    def parent(count: int) -> int:
        handles = [queue.enqueue(child, number) for number in range(count)]
        handles += [queue.enqueue(square, number) for number in range(count)]
        return sum(handle.get_result() for handle in handles)

    @DBOS.workflow()
    async def parent_async(count: int) -> int:
        handles: list[Any] = [await queue.enqueue_async(child, number) for number in range(count)]
        return sum(await asyncio.gather(*(handle.get_result() for handle in handles)))

    with SetWorkflowID("parent"):
        assert parent(5) == 65
    assert asyncio.run(parent_async(5)) == 35  # type: ignore[arg-type]
    ids = facts.all("select workflow_id from pyengine.workflows where parent_id = 'parent' order by created_at")
    assert ids == [f"parent-{number}" for number in range(1, 11)]


@pytest.mark.parametrize("max_threads", [None, 4])
def test_parents_that_wait_never_keep_their_children_from_running(launch: Launch, max_threads: int | None) -> None:
    """More parents than anything here has room for, all waiting for children in the same queue."""
    launch(max_executor_threads=max_threads)
    queue = Queue("nested")
    count = 300 if max_threads is None else 30

    @DBOS.workflow()
    def leaf(number: int) -> int:
        return number

    @DBOS.workflow()
    def parent(number: int) -> int:
        return sum(handle.get_result() for handle in [queue.enqueue(leaf, number), queue.enqueue(leaf, 1)])

    @DBOS.workflow()
    def root() -> int:
        return sum(handle.get_result() for handle in [queue.enqueue(parent, number) for number in range(count)])

    assert queue.enqueue(root).get_result() == sum(range(count)) + count


def test_a_queue_declared_after_launch_is_served(dbos: type[DBOS], facts: Facts) -> None:
    @DBOS.workflow()
    def flow() -> str:
        return "served"

    queue = Queue("new", worker_concurrency=2)
    assert queue.enqueue(flow).get_result() == "served"
    assert facts.one("select worker_concurrency from pyengine.queues where queue = 'new'") == 2


def test_polling_finds_what_others_enqueue(launch: Launch, fleet: Fleet) -> None:
    fleet.define(
        """
        queue = Queue("polled", polling_interval_sec=0.1)

        @DBOS.workflow(name="flow")
        def flow():
            return "run"
        """
    )
    fleet.start()
    launch(application_version="v0")
    queue = Queue("polled")

    @DBOS.workflow(name="flow")
    def flow() -> str:
        return "not here"

    times = []
    for _ in range(5):
        time.sleep(0.3)
        began = time.monotonic()
        with SetEnqueueOptions(app_version="v1"):
            assert queue.enqueue(flow).get_result() == "run"
        times.append(time.monotonic() - began)
    assert sorted(times)[2] < 0.9, times


def test_a_queue_is_refused_when_it_makes_no_sense() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": ""}, "non-empty"),
        ({"name": "_dbos_mine"}, "_dbos_"),
        ({"name": "q", "concurrency": 0}, "concurrency"),
        ({"name": "q", "concurrency": True}, "concurrency"),
        ({"name": "q", "concurrency": 1.5}, "concurrency"),
        ({"name": "q", "concurrency": 2, "worker_concurrency": 3}, "worker_concurrency"),
        ({"name": "q", "limiter": {"limit": 1}}, "limiter"),
        ({"name": "q", "limiter": {"limit": 0, "period": 1}}, "limit"),
        ({"name": "q", "limiter": {"limit": 1, "period": 0}}, "period"),
        ({"name": "q", "limiter": {"limit": 1, "period": float("nan")}}, "period"),
        ({"name": "q", "polling_interval_sec": 0}, "polling_interval_sec"),
    ]
    for arguments, part in wrong:
        with pytest.raises(ValueError, match=part):
            Queue(**arguments)
    with pytest.raises(TypeError, match="colour"):
        Queue("q", colour="red")  # type: ignore[call-arg]


def test_a_name_is_declared_once(dbos: type[DBOS]) -> None:
    Queue("twice")
    with pytest.raises(DBOSConflictingRegistrationError, match="twice"):
        Queue("twice")


def test_enqueue_options_are_checked_before_anything_is_written(dbos: type[DBOS], facts: Facts) -> None:
    queue = Queue("checked")

    @DBOS.workflow()
    def flow() -> None:
        return None

    wrong: list[tuple[dict[str, Any], str]] = [
        ({"priority": 0}, "priority"),
        ({"priority": 2**31}, "priority"),
        ({"priority": True}, "priority"),
        ({"delay_seconds": -1}, "delay_seconds"),
        ({"delay_seconds": float("inf")}, "delay_seconds"),
        ({"deduplication_id": " "}, "deduplication_id"),
        ({"app_version": ""}, "app_version"),
        ({"queue_partition_key": ""}, "queue_partition_key"),
        ({"duplication_policy": "return-existing"}, "deduplication_id"),
        ({"duplication_policy": "ignore", "deduplication_id": "d"}, "duplication_policy"),
    ]
    for options, part in wrong:
        with pytest.raises(DBOSException, match=part):
            SetEnqueueOptions(**options)
    with SetEnqueueOptions(deduplication_id="d"), pytest.raises(DBOSException, match="deduplication_id"):
        DBOS.start_workflow(flow)
    with pytest.raises(DBOSException, match="neither"):
        queue.enqueue(print)
    assert facts.one("select count(*) from pyengine.workflows") == 0


def test_a_resumed_workflow_may_go_to_a_queue_that_exists(dbos: type[DBOS], gate: Gate) -> None:
    queue, other = Queue("blocked", concurrency=1), Queue("free")

    @DBOS.workflow()
    def flow(name: str) -> str:
        gate.pass_through(name)
        return name

    first = queue.enqueue(flow, "first")
    gate.wait_for(1)
    second = queue.enqueue(flow, "second")
    with pytest.raises(DBOSException, match="no queue 'unknown'"):
        DBOS.resume_workflow(second.workflow_id, queue_name="unknown")
    assert second.get_status().status == "ENQUEUED"
    DBOS.resume_workflow(second.workflow_id, queue_name=other.name)
    gate.wait_for(2)
    assert second.get_status().queue_name == "free"
    gate.open()
    assert (first.get_result(), second.get_result()) == ("first", "second")


def test_enqueue_before_launch_says_so() -> None:
    DBOS.destroy(destroy_registry=True)
    queue = Queue("early")

    @DBOS.workflow()
    def flow() -> None:
        return None

    with pytest.raises(DBOSException, match="before DBOS was initialized"):
        queue.enqueue(flow)
    DBOS.destroy(destroy_registry=True)
