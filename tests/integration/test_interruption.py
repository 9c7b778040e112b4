"""Code that lost its workflow goes no further: cancelled, out of time, or fenced, it ends at its next engine call."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from plugins.flavours import Flavour
from plugins.fleet import Facts
from pyengine import DBOS, Queue, SetWorkflowID, SetWorkflowTimeout
from pyengine.api._state import executor
from pyengine.errors import (
    ClaimLost,
    DBOSAwaitedWorkflowCancelledError,
    DBOSStepTimeoutError,
    DBOSWorkflowCancelledError,
    ExecutorFenced,
)
from pyengine.runtime.registry import WorkflowSpec
from pyengine.runtime.run import Run

Dbos = type[DBOS]
Launch = Callable[..., Dbos]
LONG = 300.0


# -- preemptible steps --------------------------------------------------------------------------------


def preemptible(began: threading.Event, ended: list[str], **options: Any) -> Callable[[], Awaitable[None]]:
    @DBOS.step(name="slow", preemptible=True, **options)
    async def slow() -> None:
        began.set()
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            ended.append("cancelled")
            await asyncio.sleep(0)  # what it does on being cancelled is waited for
            ended.append("cleaned up")
            raise

    return slow


async def until_set(event: threading.Event) -> None:
    for _ in range(3000):
        if event.is_set():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


@pytest.mark.parametrize("by", ["cancel", "deadline"])
def test_a_preemptible_step_is_interrupted_and_not_recorded(dbos: Dbos, by: str) -> None:
    began, ended, reached = threading.Event(), [], []
    slow = preemptible(began, ended)

    @DBOS.workflow()
    async def flow() -> None:
        try:
            await slow()
        except BaseException as error:
            reached.append(type(error))
            raise

    async def main() -> None:
        with SetWorkflowID("w"), SetWorkflowTimeout(2 if by == "deadline" else LONG):
            handle = await DBOS.start_workflow_async(flow)
        await until_set(began)
        if by == "cancel":
            await DBOS.cancel_workflow_async("w")
        with pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await handle.get_result()
        for _ in range(3000):
            if reached:
                break
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert (ended, reached) == (["cancelled", "cleaned up"], [DBOSWorkflowCancelledError])
    assert DBOS.list_workflow_steps("w") == []


def test_a_step_that_is_not_preemptible_comes_to_its_end(dbos: Dbos) -> None:
    began, go = threading.Event(), threading.Event()
    ended: list[str] = []

    @DBOS.step()
    async def slow() -> None:
        began.set()
        await until_set(go)
        ended.append("step")

    @DBOS.workflow()
    async def flow() -> None:
        try:
            await slow()
        finally:
            ended.append("workflow")

    async def main() -> None:
        with SetWorkflowID("w"):
            handle = await DBOS.start_workflow_async(flow)
        await until_set(began)
        await DBOS.cancel_workflow_async("w")
        with pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await handle.get_result()
        assert ended == []
        go.set()
        while "workflow" not in ended:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 60))
    assert ended == ["step", "workflow"]


def test_preemptible_steps_side_by_side_are_all_interrupted(dbos: Dbos) -> None:
    begun: list[int] = []
    ended: list[int] = []

    @DBOS.step(preemptible=True)
    async def slow(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append(number)

    @DBOS.workflow()
    async def flow() -> None:
        await asyncio.gather(*(slow(number) for number in range(5)))

    async def main() -> None:
        with SetWorkflowID("w"):
            handle = await DBOS.start_workflow_async(flow)
        while len(begun) < 5:
            await asyncio.sleep(0.01)
        await DBOS.cancel_workflow_async("w")
        with pytest.raises(DBOSAwaitedWorkflowCancelledError):
            await handle.get_result()
        while len(ended) < 5:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_preemptible_step_has_its_time_limit_too(dbos: Dbos) -> None:
    began, ended = threading.Event(), []
    slow = preemptible(began, ended, timeout_seconds=0.05)

    @DBOS.workflow()
    async def flow() -> str:
        try:
            await slow()
        except DBOSStepTimeoutError as error:
            return error.step_name
        return "nothing"

    assert asyncio.run(flow()) == "slow"
    assert ended == ["cancelled", "cleaned up"]


def test_a_preemptible_step_is_handed_back_when_the_engine_stops(launch: Launch) -> None:
    launch()
    began, ended = threading.Event(), []
    slow = preemptible(began, ended)

    @DBOS.workflow()
    async def flow() -> None:
        await slow()

    async def main() -> None:
        with SetWorkflowID("w"):
            await DBOS.start_workflow_async(flow)
        await until_set(began)
        await asyncio.to_thread(DBOS.destroy)
        while len(ended) < 2:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 60))
    launch()
    status = DBOS.get_workflow_status("w")
    assert status is not None
    DBOS.cancel_workflow("w")


def test_what_a_preemptible_step_raises_and_returns_is_its_own(dbos: Dbos) -> None:
    @DBOS.step(preemptible=True)
    async def answer(value: int) -> int:
        if value < 0:
            raise TimeoutError("its own")
        return value

    @DBOS.workflow()
    async def flow() -> list[Any]:
        found: list[Any] = [await answer(1)]
        try:
            await answer(-1)
        except TimeoutError as error:
            found.append(str(error))
        return found

    assert asyncio.run(flow()) == [1, "its own"]


# -- every engine call ----------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Flavour, Any], Awaitable[Any]]] = {
    "step": lambda flavour, ours: flavour.call(ours.step),
    "child": lambda flavour, ours: flavour.call(ours.child),
    "start": lambda flavour, ours: flavour.start(ours.child),
    "enqueue": lambda flavour, ours: ours.enqueue(),
    "no sleep": lambda flavour, ours: flavour.ask("sleep", 0),
    "sleep": lambda flavour, ours: flavour.ask("sleep", 0.01),
    "get_result": lambda flavour, ours: flavour.ask("get_result", "done before"),
    "retrieve_workflow": lambda flavour, ours: flavour.ask("retrieve_workflow", "done before"),
    "get_workflow_status": lambda flavour, ours: flavour.ask("get_workflow_status", "done before"),
    "list_workflows": lambda flavour, ours: flavour.ask("list_workflows"),
    "list_workflow_steps": lambda flavour, ours: flavour.ask("list_workflow_steps", "done before"),
    "cancel_workflow": lambda flavour, ours: flavour.ask("cancel_workflow", "done before"),
    "resume_workflow": lambda flavour, ours: flavour.ask("resume_workflow", "done before"),
    "fencing_token": lambda flavour, ours: ours.token(),
}
every_call = pytest.mark.parametrize("name", CALLS)


class Ours:
    """What the code under test calls."""

    def __init__(self, flavour: Flavour) -> None:
        self._flavour = flavour
        self._queue = Queue("work")

        @flavour.step(name="step")
        async def step() -> None: ...

        @flavour.workflow(name="child")
        async def child() -> None: ...

        self.step, self.child = step, child

    async def enqueue(self) -> None:
        if self._flavour.is_async:
            await self._queue.enqueue_async(self.child)
        else:
            self._queue.enqueue(self.child)

    async def token(self) -> int | None:
        return DBOS.fencing_token


async def stubborn(flavour: Flavour, ours: Ours, name: str, busy: threading.Event) -> BaseException:
    """User code that goes on whatever Exception comes."""
    while True:
        try:
            await CALLS[name](flavour, ours)
        except Exception:
            busy.set()
        except BaseException as error:
            return error
        busy.set()
        await flavour.pause(0.005)


def run_stubborn(flavour: Flavour, name: str, lose: Callable[[], Awaitable[Any]], *, in_step: bool) -> type:
    """What the code gets when it lost its workflow by `lose`."""
    ours = Ours(flavour)
    busy, over = threading.Event(), threading.Event()
    caught: list[BaseException] = []

    async def go_on() -> str:
        if caught:
            return "elsewhere"
        error = await stubborn(flavour, ours, name, busy)
        caught.append(error)
        # Nor does it help to swallow that as well.
        caught.append(await stubborn(flavour, ours, name, busy))
        over.set()
        raise error

    @flavour.step(name="within")
    async def within() -> str:
        return await go_on()

    @flavour.workflow(name="flow")
    async def flow() -> str:
        return str(await (flavour.call(within) if in_step else go_on()))

    async def main() -> None:
        with SetWorkflowID("done before"):
            await flavour.call(ours.child)
        with SetWorkflowID("w"):
            await flavour.start(flow)
        await flavour.until_set(busy)
        await lose()
        await flavour.until_set(over)

    flavour.run(main())
    assert type(caught[0]) is type(caught[1])
    return type(caught[0])


@every_call
def test_cancelled_code_ends_whatever_it_calls(dbos: Dbos, facts: Facts, flavour: Flavour, name: str) -> None:
    error = run_stubborn(flavour, name, lambda: flavour.ask("cancel_workflow", "w"), in_step=False)
    assert error is DBOSWorkflowCancelledError
    wait_for_children(facts)


def wait_for_children(facts: Facts) -> None:
    facts.wait("select count(*) = 0 from pyengine.in_flight")


def mark_dead(facts: Facts) -> None:
    facts.execute(
        "select pyengine.mark_executor_dead(executor_id, nonce, 'process_gone', null, null)"
        " from pyengine.executors where dead_at is null"
    )


@every_call
def test_fenced_code_ends_whatever_it_calls(launch: Launch, facts: Facts, flavour: Flavour, name: str) -> None:
    launch(lease_ttl_seconds=3)

    async def lose() -> None:
        mark_dead(facts)

    assert run_stubborn(flavour, name, lose, in_step=False) in (ExecutorFenced, ClaimLost)
    facts.wait_for("w")
    assert DBOS.get_result("w") == "elsewhere"
    wait_for_children(facts)


# What may be called inside of a step.
IN_STEPS = ["step", "get_result", "get_workflow_status", "list_workflows", "cancel_workflow", "fencing_token"]


@pytest.mark.parametrize("name", IN_STEPS)
def test_code_of_a_step_ends_as_well(launch: Launch, facts: Facts, flavour: Flavour, name: str) -> None:
    launch(lease_ttl_seconds=3)

    async def lose() -> None:
        mark_dead(facts)

    assert run_stubborn(flavour, name, lose, in_step=True) is ExecutorFenced
    facts.wait_for("w")


def test_a_run_that_begins_after_its_incarnation_was_fenced_is_broken_off(launch: Launch, facts: Facts) -> None:
    """The reply of a claim that arrives late: nothing of the user's runs under a fence that is lost."""
    launch()
    engine = executor("test")
    spec = WorkflowSpec(name="late", function=print, max_recovery_attempts=None, is_async=False)

    def late(identity: Any) -> Run:
        fence = secrets.randbits(63)
        run = Run(engine, spec, "late", fence, identity=identity, fencing_token=1, deadline=None)
        engine.take_on(run)
        engine.runs.remove(run)
        return run

    lost = engine.identity
    late(lost).check()
    mark_dead(facts)
    engine.on_fenced(lost)
    with pytest.raises(ExecutorFenced):
        late(lost).check()
    facts.wait("select count(*) = 1 from pyengine.executors where dead_at is null")
    while engine.identity == lost:
        time.sleep(0.01)
    with pytest.raises(ExecutorFenced):
        late(lost).check()
    late(engine.identity).check()
