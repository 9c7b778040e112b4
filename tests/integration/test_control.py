"""Workflows that are cancelled, run into their time limit, and are resumed."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from plugins.flavours import Flavour
from pyengine import DBOS, SetWorkflowID, SetWorkflowTimeout
from pyengine.errors import DBOSAwaitedWorkflowCancelledError, DBOSException, DBOSWorkflowCancelledError

Dbos = type[DBOS]
LONG = 300.0


def status_of(workflow_id: str) -> Any:
    status = DBOS.get_workflow_status(workflow_id)
    return None if status is None else status.status


def test_a_sleeping_workflow_wakes_when_it_is_cancelled(dbos: Dbos, flavour: Flavour) -> None:
    asleep, woken = threading.Event(), threading.Event()

    @flavour.step(name="after")
    async def after() -> None: ...

    @flavour.workflow()
    async def flow() -> None:
        asleep.set()
        try:
            await flavour.ask("sleep", LONG)
        except DBOSWorkflowCancelledError:
            woken.set()
            with pytest.raises(DBOSWorkflowCancelledError):
                await flavour.call(after)
            raise

    async def main() -> None:
        with SetWorkflowID("w"):
            handle = await flavour.start(flow)
        await flavour.until_set(asleep)
        await flavour.ask("cancel_workflow", "w")
        assert (await flavour.status(handle)).status == "CANCELLED"
        await flavour.until_set(woken)
        with pytest.raises(DBOSAwaitedWorkflowCancelledError) as error:
            await flavour.result(handle)
        assert error.value.workflow_id == "w"
        await flavour.ask("cancel_workflow", "w")

    flavour.run(main())
    assert all(step["function_name"] != "after" for step in DBOS.list_workflow_steps("w"))


def test_a_workflow_in_user_code_ends_at_its_next_engine_call(dbos: Dbos, flavour: Flavour) -> None:
    busy, go, over = threading.Event(), threading.Event(), threading.Event()
    calls: list[str] = []

    @flavour.step()
    async def after() -> None:
        calls.append("after")

    @flavour.workflow()
    async def flow() -> None:
        busy.set()
        await flavour.until_set(go)
        try:
            await flavour.call(after)
        finally:
            over.set()

    async def main() -> None:
        handle = await flavour.start(flow)
        await flavour.until_set(busy)
        await flavour.ask("cancel_workflows", [handle.workflow_id])
        go.set()
        await flavour.until_set(over)
        with pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await flavour.result(handle)

    flavour.run(main())
    # A step that began before the cancellation was heard of may have run; its workflow has not ended by it.
    assert len(calls) <= 1


def test_whoever_called_a_cancelled_workflow_gets_an_exception(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def child() -> None:
        await flavour.ask("cancel_workflow", DBOS.workflow_id)
        await flavour.ask("sleep", LONG)

    @flavour.workflow()
    async def parent() -> str:
        try:
            await flavour.call(child)
        except DBOSAwaitedWorkflowCancelledError as error:
            return error.workflow_id
        return "nothing"

    async def main() -> None:
        with SetWorkflowID("alone"), pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await flavour.call(child)
        with SetWorkflowID("p"):
            assert await flavour.call(parent) == "p-1"

    flavour.run(main())
    assert (status_of("alone"), status_of("p-1"), status_of("p")) == ("CANCELLED", "CANCELLED", "SUCCESS")


def test_a_finished_workflow_is_left_as_it_is(dbos: Dbos, flavour: Flavour) -> None:
    runs: list[int] = []

    @flavour.workflow()
    async def flow() -> str:
        runs.append(1)
        return "done"

    async def main() -> None:
        with SetWorkflowID("w"):
            await flavour.call(flow)
        await flavour.ask("cancel_workflow", "w")
        handle = await flavour.ask("resume_workflow", "w")
        assert await flavour.result(handle) == "done"

    flavour.run(main())
    assert runs == [1]


def test_a_resumed_workflow_goes_on_after_its_last_checkpoint(dbos: Dbos, flavour: Flavour) -> None:
    calls: list[str] = []
    stuck, over, go = threading.Event(), threading.Event(), threading.Event()

    @flavour.step()
    async def first() -> str:
        calls.append("first")
        return "one"

    @flavour.workflow()
    async def child() -> str:
        calls.append("child")
        return "two"

    @flavour.step()
    async def last() -> str:
        return "three"

    @flavour.workflow()
    async def flow(text: str) -> list[str]:
        calls.append("flow")
        try:
            done = [text, await flavour.call(first), await flavour.call(child)]
            stuck.set()
            await flavour.until_set(go)
            return [*done, await flavour.call(last)]
        finally:
            over.set()

    async def main() -> None:
        with SetWorkflowID("w"):
            handle = await flavour.start(flow, "zero")
        await flavour.until_set(stuck)
        await flavour.ask("cancel_workflow", "w")
        go.set()
        await flavour.until_set(over)
        assert (await flavour.status(handle)).status == "CANCELLED"
        resumed = await flavour.ask("resume_workflow", "w")
        assert resumed.workflow_id == "w"
        assert await flavour.result(resumed) == ["zero", "one", "two", "three"]

    flavour.run(main())
    assert calls == ["flow", "first", "child", "flow"]


def test_many_are_resumed_at_once(dbos: Dbos, flavour: Flavour) -> None:
    go = threading.Event()

    @flavour.workflow()
    async def flow(number: int) -> int:
        while not go.is_set():
            await flavour.ask("sleep", 0.05)
        return number

    async def main() -> list[Any]:
        ids = []
        for number in range(3):
            ids.append((await flavour.start(flow, number)).workflow_id)
        await flavour.ask("cancel_workflows", ids)
        assert {status_of(one) for one in ids} == {"CANCELLED"}
        go.set()
        handles = await flavour.ask("resume_workflows", ids)
        return [await flavour.result(handle) for handle in handles]

    results = flavour.run(main())
    assert results == [0, 1, 2]


def test_past_its_timeout_a_workflow_is_cancelled(dbos: Dbos, flavour: Flavour) -> None:
    woken: list[str] = []

    @flavour.workflow()
    async def flow() -> None:
        try:
            await flavour.ask("sleep", LONG)
        except DBOSWorkflowCancelledError as error:
            woken.append(str(error))
            raise

    async def main() -> None:
        with SetWorkflowID("called"), SetWorkflowTimeout(0.1), pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await flavour.call(flow)
        with SetWorkflowID("started"), SetWorkflowTimeout(0.1):
            handle = await flavour.start(flow)
        with pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await flavour.result(handle)
        await flavour.until(lambda: len(woken) == 2)

    flavour.run(main())
    assert "timeout" in woken[0]
    status = DBOS.get_workflow_status("started")
    assert status is not None
    assert (status.status, status.workflow_timeout_ms) == ("CANCELLED", 100)
    assert status.workflow_deadline_epoch_ms is not None


def test_a_deadline_holds_for_children_unless_they_are_detached(dbos: Dbos, flavour: Flavour) -> None:
    deadlines: dict[str, Any] = {}

    @flavour.workflow()
    async def child(name: str) -> None:
        status = await flavour.ask("get_workflow_status", DBOS.workflow_id)
        deadlines[name] = status.workflow_deadline_epoch_ms

    @flavour.workflow()
    async def parent() -> None:
        status = await flavour.ask("get_workflow_status", DBOS.workflow_id)
        deadlines["parent"] = status.workflow_deadline_epoch_ms
        await flavour.call(child, "called")
        await flavour.result(await flavour.start(child, "started"))
        with SetWorkflowTimeout(None):
            await flavour.call(child, "detached")
        with SetWorkflowTimeout(9 * LONG):
            await flavour.call(child, "own")

    async def main() -> None:
        with SetWorkflowTimeout(LONG):
            await flavour.call(parent)

    flavour.run(main())
    assert deadlines["called"] == deadlines["started"] == deadlines["parent"]
    assert deadlines["detached"] is None
    assert deadlines["own"] > deadlines["parent"] + LONG * 1000


def test_a_child_is_cancelled_with_its_parents_deadline(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def child() -> None:
        await flavour.ask("sleep", LONG)

    @flavour.workflow()
    async def parent() -> None:
        await flavour.call(child)

    async def main() -> None:
        with SetWorkflowID("p"), SetWorkflowTimeout(0.1), pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await flavour.call(parent)

    flavour.run(main())
    assert (status_of("p"), status_of("p-1")) == ("CANCELLED", "CANCELLED")


def test_a_resumed_workflow_has_no_deadline_any_more(dbos: Dbos, flavour: Flavour) -> None:
    tries: list[int] = []

    @flavour.workflow()
    async def flow() -> str:
        tries.append(1)
        if len(tries) == 1:
            await flavour.ask("sleep", LONG)
        return "made it"

    async def main() -> None:
        with SetWorkflowID("w"), SetWorkflowTimeout(0.1), pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await flavour.call(flow)
        handle = await flavour.ask("resume_workflow", "w")
        assert await flavour.result(handle) == "made it"

    flavour.run(main())
    status = DBOS.get_workflow_status("w")
    assert status is not None
    assert (status.workflow_deadline_epoch_ms, status.workflow_timeout_ms) == (None, None)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12, "1", True])
def test_a_timeout_is_a_positive_number(seconds: Any) -> None:
    with pytest.raises(DBOSException, match="timeout"):
        SetWorkflowTimeout(seconds)


def test_a_sleep_is_durable(dbos: Dbos, flavour: Flavour) -> None:
    """The instant of waking is fixed by the first run: one that comes later does not sleep it all again."""
    woken = threading.Event()
    first_began: list[float] = []

    @flavour.workflow()
    async def flow() -> None:
        first_began.append(time.monotonic())
        await flavour.ask("sleep", 1.5)
        woken.set()

    async def main() -> None:
        with SetWorkflowID("w"):
            await flavour.start(flow)
        await flavour.until(lambda: len(DBOS.list_workflow_steps("w")) == 1)
        wakes_at = DBOS.list_workflow_steps("w")[0]["output"]
        await flavour.ask("cancel_workflow", "w")
        handle = await flavour.ask("resume_workflow", "w")
        await flavour.result(handle)
        assert time.monotonic() - first_began[0] >= 1.4
        (step,) = DBOS.list_workflow_steps("w")
        assert (step["function_name"], step["output"]) == ("DBOS.sleep", wakes_at)

    flavour.run(main())


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e12, "1", None])
def test_a_sleep_takes_a_number_of_seconds(dbos: Dbos, seconds: Any) -> None:
    @DBOS.workflow()
    def flow() -> None:
        DBOS.sleep(seconds)

    with pytest.raises(DBOSException, match="sleep"):
        flow()


def test_a_sleep_of_nothing_and_outside_of_a_workflow(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def flow() -> None:
        await flavour.ask("sleep", 0)
        await flavour.ask("sleep", -5)

    async def main() -> None:
        with SetWorkflowID("w"):
            await flavour.call(flow)
        with pytest.raises(DBOSException, match="within a workflow"):
            await flavour.ask("sleep", 1)

    flavour.run(main())
    assert DBOS.list_workflow_steps("w") == []


def test_a_step_of_another_name_in_a_replay_is_an_error(dbos: Dbos, flavour: Flavour) -> None:
    asleep = threading.Event()

    @flavour.step(name="old")
    async def old() -> None: ...

    @flavour.step(name="new")
    async def new() -> None: ...

    @flavour.workflow()
    async def flow() -> None:
        await flavour.call(new if asleep.is_set() else old)
        asleep.set()
        await flavour.ask("sleep", LONG)

    async def main() -> None:
        with SetWorkflowID("w"):
            await flavour.start(flow)
        await flavour.until_set(asleep)
        await flavour.ask("cancel_workflow", "w")
        handle = await flavour.ask("resume_workflow", "w")
        with pytest.raises(Exception, match=r"DBOS Error 11: Step 1 of workflow w is 'new'.*'old'"):
            await flavour.result(handle)

    flavour.run(main())
