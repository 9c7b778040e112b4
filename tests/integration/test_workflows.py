"""Workflows: called, started, nested; their ids, results and what is recorded of them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plugins.flavours import Flavour
from pyengine import DBOS, SetEnqueueOptions, SetWorkflowAttributes, SetWorkflowID, WorkflowHandle, WorkflowHandleAsync
from pyengine.errors import (
    DBOSConflictingWorkflowError,
    DBOSException,
    DBOSNonExistentWorkflowError,
    DBOSWorkflowIDInUseError,
)

Dbos = type[DBOS]


def steps_of(workflow_id: str) -> list[tuple[int, str]]:
    return [(step["function_id"], step["function_name"]) for step in DBOS.list_workflow_steps(workflow_id)]


def status_of(workflow_id: str) -> Any:
    status = DBOS.get_workflow_status(workflow_id)
    assert status is not None
    return status


def test_a_direct_call_returns_what_the_function_returns(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.step()
    async def double(number: int) -> int:
        return 2 * number

    @flavour.workflow()
    async def flow(number: int, *, plus: int = 0) -> int:
        return int(await flavour.call(double, number)) + plus

    with SetWorkflowID("sum"):
        assert flavour.run(flavour.call(flow, 20, plus=2)) == 42

    status = status_of("sum")
    assert (status.status, status.output, status.error) == ("SUCCESS", 42, None)
    assert status.input == {"args": [20], "kwargs": {"plus": 2}}
    assert status.name.endswith("flow")
    assert [name.rsplit(".")[-1] for _, name in steps_of("sum")] == ["double"]


def test_an_exception_is_raised_as_itself_and_recorded(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def flow() -> None:
        raise ValueError("no such cake", 7)

    async def main() -> None:
        with SetWorkflowID("failing"), pytest.raises(ValueError, match="no such cake") as direct:
            await flavour.call(flow)
        assert direct.value.args == ("no such cake", 7)
        with pytest.raises(ValueError, match="no such cake") as stored:
            await flavour.ask("get_result", "failing")
        assert stored.value.args == ("no such cake", 7)

    flavour.run(main())
    status = status_of("failing")
    assert status.status == "ERROR"
    assert isinstance(status.error, ValueError)


def test_start_workflow_runs_in_the_background(dbos: Dbos, flavour: Flavour) -> None:
    go = threading.Event()

    @flavour.workflow()
    async def flow(text: str) -> str:
        await flavour.until_set(go)
        return text.upper()

    async def main() -> None:
        handle = await flavour.start(flow, "cake")
        assert isinstance(handle, WorkflowHandleAsync if flavour.is_async else WorkflowHandle)
        assert handle.get_workflow_id() == handle.workflow_id
        assert (await flavour.status(handle)).status == "PENDING"
        go.set()
        assert await flavour.result(handle) == "CAKE"
        assert (await flavour.status(handle)).status == "SUCCESS"
        other = await flavour.ask("retrieve_workflow", handle.workflow_id)
        assert await flavour.result(other) == "CAKE"

    flavour.run(main())


def test_handles_are_subscriptable() -> None:
    assert WorkflowHandle[int].__origin__ is WorkflowHandle  # type: ignore[attr-defined]
    assert WorkflowHandleAsync[int].__origin__ is WorkflowHandleAsync  # type: ignore[attr-defined]


def test_a_step_can_be_started_like_a_workflow(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.step()
    async def double(number: int) -> int:
        return 2 * number

    async def main() -> str:
        handle = await flavour.start(double, 21)
        assert await flavour.result(handle) == 42
        return str(handle.workflow_id)

    workflow_id = flavour.run(main())
    assert status_of(workflow_id).name.startswith("<temp>.")
    assert len(steps_of(workflow_id)) == 1


def test_children_are_named_after_their_parent_and_are_steps_of_it(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.step(name="note")
    async def note() -> None: ...

    @flavour.workflow(name="child")
    async def child(number: int) -> int:
        await flavour.call(note)
        return number + 1

    @flavour.workflow(name="parent")
    async def parent() -> list[Any]:
        await flavour.call(note)
        called = await flavour.call(child, 1)
        handle = await flavour.start(child, 10)
        return [called, await flavour.result(handle), DBOS.workflow_id, handle.workflow_id]

    with SetWorkflowID("p"):
        assert flavour.run(flavour.call(parent)) == [2, 11, "p", "p-4"]

    assert steps_of("p") == [(1, "note"), (2, "child"), (3, "DBOS.getResult"), (4, "child"), (5, "DBOS.getResult")]
    recorded = DBOS.list_workflow_steps("p")
    assert [step["child_workflow_id"] for step in recorded] == [None, "p-2", None, "p-4", None]
    assert [step["output"] for step in recorded] == [None, None, 2, None, 11]
    assert status_of("p-2").parent_workflow_id == "p"
    assert {status.workflow_id for status in DBOS.list_workflows(parent_workflow_id="p")} == {"p-2", "p-4"}
    assert [status.workflow_id for status in DBOS.list_workflows(has_parent=False)] == ["p"]


def test_a_childs_exception_reaches_its_parent_as_itself(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def child() -> None:
        raise KeyError("flour")

    @flavour.workflow()
    async def parent() -> str:
        try:
            await flavour.call(child)
        except KeyError as error:
            return f"caught {error.args[0]}"
        return "nothing"

    assert flavour.run(flavour.call(parent)) == "caught flour"


def test_an_id_never_runs_twice(dbos: Dbos, flavour: Flavour) -> None:
    runs: list[int] = []

    @flavour.workflow()
    async def flow(number: int) -> int:
        runs.append(number)
        return number

    async def main() -> None:
        for number in range(3):
            with SetWorkflowID("once"):
                assert await flavour.call(flow, number) == 0
        with SetWorkflowID("once"):
            handle = await flavour.start(flow, 4)
        assert handle.workflow_id == "once"
        assert await flavour.result(handle) == 0

    flavour.run(main())
    assert runs == [0]


def test_an_id_never_runs_twice_from_many_threads(dbos: Dbos) -> None:
    runs: list[int] = []
    together = threading.Barrier(8)

    @DBOS.workflow()
    def flow(number: int) -> int:
        runs.append(number)
        return number

    def one(number: int) -> int:
        together.wait()
        with SetWorkflowID("once"):
            return flow(number)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(8)))
    assert len(runs) == 1
    assert results == runs * 8


def test_an_id_never_runs_twice_from_many_tasks(dbos: Dbos) -> None:
    runs: list[int] = []

    @DBOS.workflow()
    async def flow(number: int) -> int:
        runs.append(number)
        await asyncio.sleep(0)
        return number

    async def one(number: int) -> int:
        with SetWorkflowID("once"):
            return await flow(number)

    async def main() -> list[int]:
        return await asyncio.gather(*map(one, range(8)))

    assert asyncio.run(main()) == runs * 8


def test_only_the_first_workflow_of_a_block_takes_its_id(
    dbos: Dbos, flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    @flavour.workflow()
    async def flow() -> str | None:
        return DBOS.workflow_id

    async def main() -> tuple[str, str]:
        with SetWorkflowID("mine"):
            return await flavour.call(flow), await flavour.call(flow)

    first, second = flavour.run(main())
    assert first == "mine"
    assert second not in ("mine", None)
    assert status_of(second).status == "SUCCESS"
    assert "SetWorkflowID(mine)" in caplog.text


def test_an_id_can_be_asked_to_be_new(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def flow() -> int:
        return 1

    async def main() -> None:
        with SetWorkflowID("new", workflow_id_reuse_policy="reject"):
            assert await flavour.call(flow) == 1
        with SetWorkflowID("new", workflow_id_reuse_policy="reject"), pytest.raises(DBOSWorkflowIDInUseError):
            await flavour.call(flow)
        with SetWorkflowID("new", workflow_id_reuse_policy="reject"), pytest.raises(DBOSWorkflowIDInUseError):
            await flavour.start(flow)

    flavour.run(main())
    with pytest.raises(DBOSException, match="reject"):
        SetWorkflowID("new", workflow_id_reuse_policy="perhaps")  # type: ignore[arg-type]


def test_what_was_told_of_an_id_in_use_holds_in_a_replay(dbos: Dbos, flavour: Flavour) -> None:
    first = threading.Event()
    seen: list[list[str]] = []

    @flavour.workflow(name="child")
    async def child() -> str:
        return "child"

    @flavour.workflow(name="parent")
    async def parent() -> list[str]:
        told = []
        for workflow_id in ("taken", "new", "new"):
            with SetWorkflowID(workflow_id, workflow_id_reuse_policy="reject"):
                try:
                    told.append(await flavour.call(child))
                except DBOSWorkflowIDInUseError as error:
                    told.append(f"{error.workflow_id} is in use")
        seen.append(told)
        if not first.is_set():
            first.set()
            await flavour.ask("sleep", 300)
        return told

    async def main() -> list[str]:
        with SetWorkflowID("taken"):
            await flavour.call(child)
        with SetWorkflowID("p"):
            await flavour.start(parent)
        await flavour.until_set(first)
        await flavour.ask("cancel_workflow", "p")
        return list(await flavour.result(await flavour.ask("resume_workflow", "p")))

    assert flavour.run(main()) == ["taken is in use", "child", "new is in use"]
    assert seen[0] == seen[1]


def test_an_id_of_another_function_is_a_conflict(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow(name="one")
    async def one() -> int:
        return 1

    @flavour.workflow(name="other")
    async def other() -> int:
        return 2

    @flavour.workflow(name="parent")
    async def parent() -> str:
        with SetWorkflowID("taken"):
            try:
                return str(await flavour.call(other))
            except DBOSConflictingWorkflowError as error:
                return error.workflow_id

    async def main() -> None:
        with SetWorkflowID("taken"):
            await flavour.call(one)
        with SetWorkflowID("taken"), pytest.raises(DBOSConflictingWorkflowError, match=r"one.*other"):
            await flavour.call(other)
        assert await flavour.call(parent) == "taken"

    flavour.run(main())


@pytest.mark.parametrize("workflow_id", ["", "  \n", None, 7, "a\0b", "\ud800"])
def test_an_id_must_be_text_that_can_be_stored(workflow_id: Any) -> None:
    with pytest.raises(DBOSException, match="workflow id"):
        SetWorkflowID(workflow_id)


@pytest.mark.parametrize("workflow_id", ["späte Bestellung #1/ü", "x" * 2000, "'; drop table x; --", " padded "])
def test_an_id_may_be_any_other_text(dbos: Dbos, workflow_id: str) -> None:
    @DBOS.workflow()
    def flow() -> str | None:
        return DBOS.workflow_id

    with SetWorkflowID(workflow_id):
        assert flow() == workflow_id
    assert DBOS.retrieve_workflow(workflow_id).get_result() == workflow_id


def test_a_block_cannot_be_entered_twice_at_a_time() -> None:
    block = SetWorkflowID("x")
    with block, pytest.raises(DBOSException, match="active already"), block:
        pass
    with block:
        pass


def test_what_nobody_started(dbos: Dbos, flavour: Flavour) -> None:
    async def main() -> None:
        assert await flavour.ask("get_workflow_status", "nobody") is None
        assert await flavour.ask("list_workflow_steps", "nobody") == []
        with pytest.raises(DBOSNonExistentWorkflowError, match="nobody"):
            await flavour.ask("retrieve_workflow", "nobody")
        handle = await flavour.ask("retrieve_workflow", "nobody", existing_workflow=False)
        with pytest.raises(DBOSNonExistentWorkflowError):
            await flavour.status(handle)
        with pytest.raises(DBOSNonExistentWorkflowError):
            await flavour.ask("resume_workflow", "nobody")
        await flavour.ask("cancel_workflow", "nobody")

    flavour.run(main())


def test_a_result_is_waited_for_before_its_workflow_is_started(dbos: Dbos) -> None:
    @DBOS.workflow()
    def flow() -> str:
        return "here"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(DBOS.retrieve_workflow("later", existing_workflow=False).get_result)
        assert not waiting.done()
        with SetWorkflowID("later"):
            flow()
        assert waiting.result(30) == "here"


def test_attributes_are_found_and_not_inherited(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def child() -> None: ...

    @flavour.workflow()
    async def parent() -> None:
        await flavour.call(child)

    async def main() -> None:
        with SetWorkflowID("a"), SetWorkflowAttributes({"customer": {"id": 7, "vip": True}}):
            await flavour.call(parent)
        with SetWorkflowID("b"), SetWorkflowAttributes({"customer": {"id": 8}}):
            await flavour.call(parent)

    flavour.run(main())
    assert status_of("a").attributes == {"customer": {"id": 7, "vip": True}}
    assert status_of("a-1").attributes is None
    found = DBOS.list_workflows(attributes={"customer": {"id": 7}})
    assert [status.workflow_id for status in found] == ["a"]


@pytest.mark.parametrize("attributes", [{"x": object()}, {"x": float("nan")}, [1], {"x": "\0"}, {"x": "\ud800"}])
def test_attributes_are_json(attributes: Any) -> None:
    with pytest.raises(DBOSException, match="attributes"):
        SetWorkflowAttributes(attributes)


def test_options_of_an_enqueue_are_refused_at_a_start(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def flow() -> None: ...

    async def main() -> None:
        with SetEnqueueOptions(priority=1), pytest.raises(DBOSException, match="priority"):
            await flavour.call(flow)
        with SetEnqueueOptions(deduplication_id="x"), pytest.raises(DBOSException, match="deduplication_id"):
            await flavour.start(flow)

    flavour.run(main())
    assert DBOS.list_workflows() == []


def test_only_workflows_and_steps_can_be_started(dbos: Dbos) -> None:
    def plain() -> None: ...

    with pytest.raises(DBOSException, match="decorate it"):
        DBOS.start_workflow(plain)


def test_a_sync_program_starts_an_async_workflow_and_the_other_way_round(dbos: Dbos) -> None:
    @DBOS.step()
    def shout(text: str) -> str:
        return text.upper()

    @DBOS.workflow()
    async def in_loop(text: str) -> str:
        await asyncio.sleep(0)
        return shout(text)

    @DBOS.workflow()
    def in_thread(text: str) -> Any:
        return DBOS.start_workflow(in_loop, text).get_result()

    assert in_thread("cake") == "CAKE"

    async def main() -> Any:
        handle: Any = await DBOS.start_workflow_async(in_thread, "bread")
        return await handle.get_result()

    assert asyncio.run(main()) == "BREAD"


def test_a_sync_call_that_waits_is_refused_inside_an_event_loop(dbos: Dbos) -> None:
    @DBOS.workflow()
    async def flow() -> None:
        DBOS.sleep(1)

    @DBOS.workflow()
    def sync_flow() -> str:
        DBOS.sleep(0.01)
        return "slept"

    async def main() -> None:
        with pytest.raises(RuntimeError, match="sleep_async"):
            await flow()
        handle = DBOS.start_workflow(sync_flow)
        with pytest.raises(RuntimeError, match="event loop"):
            handle.get_result()
        assert await DBOS.get_result_async(handle.workflow_id) == "slept"
        # A sync workflow called directly blocks the loop anyway: its sleep is its own.
        assert sync_flow() == "slept"

    asyncio.run(main())


def test_side_by_side_in_one_workflow_numbers_are_the_same_in_every_replay(dbos: Dbos) -> None:
    """Children and steps gathered by one workflow, which is then replayed."""
    calls: list[str] = []
    first = threading.Event()
    is_replayed = False

    @DBOS.step(name="step")
    async def step(number: int) -> int:
        calls.append(f"step {number}")
        await asyncio.sleep(0.02 * (3 - number))
        return number

    @DBOS.workflow(name="child")
    async def child(number: int) -> int:
        calls.append(f"child {number}")
        await asyncio.sleep(0.02 * (3 - number))
        return 10 * number

    @DBOS.workflow(name="parent")
    async def parent() -> list[int]:
        results = await asyncio.gather(*(step(number) for number in range(3)), *(child(number) for number in range(3)))
        if not is_replayed:
            first.set()
            await DBOS.sleep_async(300)
        return results

    with SetWorkflowID("p"):
        handle = DBOS.start_workflow(parent)
    assert first.wait(30)
    numbers = steps_of("p")
    assert [name for _, name in numbers[:9]] == ["step"] * 3 + ["child", "DBOS.getResult"] * 3
    DBOS.cancel_workflow("p")
    is_replayed = True
    # The same code without the sleep: what is replayed is what lies before it.
    DBOS.resume_workflow("p")
    assert handle.get_result() == [0, 1, 2, 0, 10, 20]
    assert sorted(calls) == ["child 0", "child 1", "child 2", "step 0", "step 1", "step 2"]
    children = {status.workflow_id for status in DBOS.list_workflows(parent_workflow_id="p")}
    assert children == {"p-4", "p-6", "p-8"}
