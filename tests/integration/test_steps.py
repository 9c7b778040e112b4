"""Steps: checkpoints, retries, time limits, and where a step is nothing but a call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from plugins.flavours import Flavour
from pyengine import DBOS, SetWorkflowID
from pyengine.errors import DBOSException, DBOSMaxStepRetriesExceeded, DBOSStepTimeoutError

Dbos = type[DBOS]


class Burnt(Exception):
    pass


def recorded(workflow_id: str) -> list[Any]:
    return [(step["function_name"], step["output"], step["error"]) for step in DBOS.list_workflow_steps(workflow_id)]


def test_a_step_outside_of_a_workflow_is_a_plain_call(flavour: Flavour) -> None:
    @flavour.step(retries_allowed=True, max_attempts=5)
    async def double(number: int) -> tuple[int, Any, Any]:
        return 2 * number, DBOS.step_id, DBOS.workflow_id

    @flavour.step(retries_allowed=True, max_attempts=5)
    async def fail() -> None:
        raise Burnt

    async def main() -> None:
        assert await flavour.call(double, 21) == (42, None, None)
        with pytest.raises(Burnt):
            await flavour.call(fail)

    flavour.run(main())


def test_a_step_inside_a_step_is_a_plain_call(dbos: Dbos, flavour: Flavour) -> None:
    seen: list[Any] = []

    @flavour.step(name="inner")
    async def inner() -> str:
        seen.append((DBOS.workflow_id, DBOS.step_id))
        return "in"

    @flavour.step(name="outer")
    async def outer() -> str:
        seen.append((DBOS.workflow_id, DBOS.step_id))
        return await flavour.call(inner) + "out"

    @flavour.workflow()
    async def flow() -> str:
        seen.append((DBOS.workflow_id, DBOS.step_id))
        return str(await flavour.call(outer))

    with SetWorkflowID("w"):
        assert flavour.run(flavour.call(flow)) == "inout"
    assert recorded("w") == [("outer", "inout", None)]
    assert seen == [("w", None), ("w", 1), ("w", 1)]


def test_a_failed_step_is_a_checkpoint_and_its_exception_can_be_caught(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.step(name="bake")
    async def bake() -> None:
        raise Burnt("black", 3)

    @flavour.step(name="buy")
    async def buy() -> str:
        return "a cake"

    @flavour.workflow()
    async def flow() -> Any:
        try:
            return await flavour.call(bake)
        except Burnt as error:
            return await flavour.call(buy), error.args

    with SetWorkflowID("w"):
        assert flavour.run(flavour.call(flow)) == ("a cake", ("black", 3))
    (bake_row, buy_row) = recorded("w")
    assert bake_row[0] == "bake"
    assert isinstance(bake_row[2], Burnt)
    assert bake_row[2].args == ("black", 3)
    assert buy_row == ("buy", "a cake", None)


def test_a_step_is_retried_until_it_succeeds(dbos: Dbos, flavour: Flavour) -> None:
    seen: list[Any] = []

    @flavour.step(name="flaky", retries_allowed=True, max_attempts=5, interval_seconds=0.01, backoff_rate=1)
    async def flaky() -> str:
        status = DBOS.step_status
        assert status is not None
        seen.append((status.step_id, status.current_attempt, status.max_attempts))
        if len(seen) < 3:
            raise Burnt(len(seen))
        return "done"

    @flavour.workflow()
    async def flow() -> str:
        return str(await flavour.call(flaky))

    with SetWorkflowID("w"):
        assert flavour.run(flavour.call(flow)) == "done"
    assert seen == [(1, 0, 5), (1, 1, 5), (1, 2, 5)]
    assert recorded("w") == [("flaky", "done", None)]


@pytest.mark.parametrize("attempts", [1, 3])
def test_past_the_last_attempt_all_errors_are_told(dbos: Dbos, flavour: Flavour, attempts: int) -> None:
    calls: list[int] = []

    @flavour.step(name="bake", retries_allowed=True, max_attempts=attempts, interval_seconds=0.01)
    async def bake() -> None:
        calls.append(len(calls))
        raise Burnt(f"attempt {len(calls)}")

    @flavour.workflow()
    async def flow() -> None:
        await flavour.call(bake)

    async def main() -> None:
        with SetWorkflowID("w"), pytest.raises(DBOSMaxStepRetriesExceeded, match="bake") as direct:
            await flavour.call(flow)
        with pytest.raises(DBOSMaxStepRetriesExceeded) as stored:
            await flavour.ask("get_result", "w")
        for told in (direct.value, stored.value):
            assert (told.step_name, told.max_retries) == ("bake", attempts)
            assert [str(error) for error in told.errors] == [f"attempt {n + 1}" for n in range(attempts)]
            assert all(isinstance(error, Burnt) for error in told.errors)

    flavour.run(main())
    assert len(calls) == attempts


def test_should_retry_decides(dbos: Dbos, flavour: Flavour) -> None:
    calls: list[int] = []

    def sync_answer(error: BaseException) -> bool:
        return isinstance(error, Burnt)

    async def async_answer(error: BaseException) -> bool:
        await asyncio.sleep(0)
        return isinstance(error, Burnt)

    answer = async_answer if flavour.is_async else sync_answer

    @flavour.step(retries_allowed=True, max_attempts=9, interval_seconds=0.01, should_retry=answer)
    async def bake() -> None:
        calls.append(1)
        raise Burnt if len(calls) < 3 else KeyError("no oven")

    @flavour.workflow()
    async def flow() -> None:
        await flavour.call(bake)

    with pytest.raises(KeyError, match="no oven"):
        flavour.run(flavour.call(flow))
    assert len(calls) == 3


def test_an_attempt_has_a_time_limit(dbos: Dbos) -> None:
    calls: list[int] = []

    @DBOS.step(name="slow", timeout_seconds=0.05)
    async def slow() -> None:
        await asyncio.sleep(300)

    @DBOS.step(name="later", timeout_seconds=0.2, retries_allowed=True, interval_seconds=0.01)
    async def later() -> str:
        calls.append(1)
        if len(calls) < 2:
            await asyncio.sleep(300)
        return "made it"

    @DBOS.step(name="own", timeout_seconds=30)
    async def own() -> None:
        raise TimeoutError("the oven's own")

    @DBOS.workflow()
    async def flow() -> str:
        with pytest.raises(DBOSStepTimeoutError, match=r"slow.*0\.05"):
            await slow()
        with pytest.raises(TimeoutError, match="the oven's own"):
            await own()
        return await later()

    async def main() -> str:
        with SetWorkflowID("w"):
            return await flow()

    assert asyncio.run(main()) == "made it"
    assert [name for name, _, _ in recorded("w")] == ["slow", "own", "later"]


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"interval_seconds": -1},
        {"interval_seconds": float("inf")},
        {"backoff_rate": -1},
        {"backoff_rate": float("nan")},
        {"timeout_seconds": 1},
        {"preemptible": True},
        {"name": " "},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused_at_decoration(options: dict[str, Any]) -> None:
    with pytest.raises(DBOSException):

        @DBOS.step(**options)
        def step() -> None: ...


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "1"])
def test_a_time_limit_is_a_positive_number(seconds: Any) -> None:
    with pytest.raises(DBOSException, match="timeout_seconds"):

        @DBOS.step(timeout_seconds=seconds)
        async def step() -> None: ...


def test_nothing_of_the_engine_is_started_from_a_step(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow(name="child")
    async def child() -> int:
        return 1

    refused: list[str] = []

    @flavour.step()
    async def step() -> None:
        for attempt in (flavour.call(child), flavour.start(child), flavour.ask("sleep", 0.1)):
            with pytest.raises(DBOSException, match="step") as error:
                await attempt
            refused.append(str(error.value))

    @flavour.workflow()
    async def flow() -> None:
        await flavour.call(step)

    flavour.run(flavour.call(flow))
    assert len(refused) == 3
    assert DBOS.list_workflows(name="child") == []


def test_a_step_may_read_about_workflows(dbos: Dbos, flavour: Flavour) -> None:
    """Reads are steps of their own in a workflow, and plain calls in a step."""

    @flavour.workflow(name="other")
    async def other() -> str:
        return "cake"

    @flavour.step(name="step")
    async def step() -> Any:
        return (await flavour.ask("get_workflow_status", "o")).status, await flavour.ask("get_result", "o")

    @flavour.workflow()
    async def flow() -> Any:
        status = await flavour.ask("get_workflow_status", "o")
        found = await flavour.ask("list_workflows", name="other")
        steps = await flavour.ask("list_workflow_steps", "o")
        return await flavour.call(step), status.status, [one.workflow_id for one in found], steps

    async def main() -> None:
        with SetWorkflowID("o"):
            await flavour.call(other)
        with SetWorkflowID("w"):
            assert await flavour.call(flow) == (("SUCCESS", "cake"), "SUCCESS", ["o"], [])

    flavour.run(main())
    names = [name for name, _, _ in recorded("w")]
    assert names == ["DBOS.getStatus", "DBOS.listWorkflows", "DBOS.listWorkflowSteps", "step"]


def test_a_cancelled_task_records_nothing_and_the_workflow_is_run_again(launch: Any) -> None:
    """Somebody cancels the task of a direct call, as a server does when its client hangs up."""
    launch(lease_ttl_seconds=1.5)
    began = asyncio.Event()
    calls: list[str] = []

    @DBOS.step(name="slow")
    async def slow() -> str:
        calls.append("slow")
        began.set()
        if len(calls) == 1:
            await asyncio.sleep(300)
        return "done"

    @DBOS.workflow()
    async def flow() -> str:
        return await slow()

    async def main() -> str:
        with SetWorkflowID("w"):
            task = asyncio.create_task(flow())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return str(await DBOS.get_result_async("w"))

    assert asyncio.run(main()) == "done"
    assert calls == ["slow", "slow"]
