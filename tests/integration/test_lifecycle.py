"""From DBOS() to destroy(), and what is called at the wrong time."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plugins.flavours import Flavour
from plugins.processes import Processes
from plugins.sessions import wait_until
from pyengine import DBOS, Queue, SetWorkflowID
from pyengine.errors import DBOSAwaitedWorkflowCancelledError, DBOSException, DBOSInitializationError

Launch = Callable[..., type[DBOS]]
Dbos = type[DBOS]


@pytest.fixture
def nothing_launched() -> Iterator[None]:
    DBOS.destroy(destroy_registry=True)
    yield
    DBOS.destroy(destroy_registry=True)


@pytest.fixture
def executors(session_factory: Callable[..., psycopg.Connection[Any]]) -> Callable[[], list[Any]]:
    connection = session_factory()

    def read() -> list[Any]:
        query = "select executor_id, dead_reason, handed_over_at is not null from pyengine.executors order by 1"
        return connection.execute(query).fetchall()

    return read


def test_what_is_called_too_early_says_so(nothing_launched: None, flavour: Flavour) -> None:
    @flavour.workflow()
    async def flow() -> None: ...

    async def main(when: str) -> None:
        for attempt in (
            flavour.call(flow),
            flavour.start(flow),
            flavour.ask("get_workflow_status", "x"),
            flavour.ask("list_workflows"),
            flavour.ask("cancel_workflow", "x"),
            flavour.ask("sleep", 1),
            flavour.ask("get_result", "x"),
        ):
            with pytest.raises(DBOSException, match=f"before DBOS was {when}"):
                await attempt

    with pytest.raises(DBOSException, match=r"before DBOS\(\)"):
        DBOS.launch()
    flavour.run(main("initialized"))
    DBOS(config={"name": "test-app", "system_database_url": "postgresql://nobody@127.0.0.1:1/none"})
    flavour.run(main("launched"))


def test_a_database_that_is_not_there_is_one_clear_error(nothing_launched: None) -> None:
    url = "postgresql://somebody:secret@127.0.0.1:1/none"
    DBOS(config={"name": "test-app", "system_database_url": url})
    with pytest.raises(DBOSInitializationError) as error:
        DBOS.launch()
    assert "127.0.0.1" in str(error.value)
    assert "secret" not in str(error.value)


def test_there_is_one_dbos(launch: Launch, caplog: pytest.LogCaptureFixture) -> None:
    launch()
    first = DBOS()
    assert DBOS(config={"name": "other-app"}) is first
    DBOS.launch()
    assert "already launched" in caplog.text


def test_functions_are_decorated_before_or_after(launch: Launch, flavour: Flavour) -> None:
    @flavour.workflow()
    async def before() -> str:
        return "before"

    launch()

    @flavour.workflow()
    async def after() -> str:
        return "after"

    async def main() -> None:
        assert await flavour.call(before) == "before"
        assert await flavour.call(after) == "after"
        assert await flavour.result(await flavour.start(after)) == "after"

    flavour.run(main())


def test_names_are_kept_apart(nothing_launched: None) -> None:
    def make(name: str) -> Any:
        @DBOS.workflow(name=name)
        def flow() -> int:
            return 1

        return flow

    make("a name")
    make("a name")  # the same definition again
    with pytest.raises(DBOSException, match="a name"):

        @DBOS.workflow(name="a name")
        def other() -> None: ...

    for name in ("", "  ", 7):
        with pytest.raises(DBOSException, match="name"):
            make(name)  # type: ignore[arg-type]
    with pytest.raises(DBOSException, match="max_recovery_attempts"):
        DBOS.workflow(max_recovery_attempts=-1)


def test_the_version_is_a_hash_of_the_workflows(launch: Launch) -> None:
    @DBOS.workflow()
    def one() -> int:
        return 1

    launch()
    first = DBOS.application_version
    DBOS.destroy()
    launch()
    assert DBOS.application_version == first
    DBOS.destroy()

    @DBOS.workflow()
    def two() -> int:
        return 2

    @DBOS.step()
    def step() -> int:
        return 3

    launch()
    assert DBOS.application_version != first
    DBOS.destroy()
    launch(application_version="mine", executor_id="here")
    assert (DBOS.application_version, DBOS.executor_id) == ("mine", "here")
    with SetWorkflowID("w"):
        one()
    status = DBOS.get_workflow_status("w")
    assert status is not None
    assert (status.app_version, status.executor_id, status.application_name) == ("mine", "here", "test-app")


def test_destroy_hands_back_what_is_unfinished_and_a_launch_goes_on_with_it(
    launch: Launch, flavour: Flavour, executors: Callable[[], list[Any]]
) -> None:
    calls: list[str] = []
    asleep = threading.Event()

    @flavour.step()
    async def first() -> None:
        calls.append("first")

    @flavour.workflow()
    async def flow() -> str:
        await flavour.call(first)
        asleep.set()
        await flavour.ask("sleep", 0.5)
        return "woken"

    launch()
    with SetWorkflowID("w"):
        flavour.run(flavour.start(flow))
    assert asleep.wait(30)
    DBOS.destroy()
    assert executors() == [(1, "retired", True)]
    with pytest.raises(DBOSException, match="before DBOS was initialized"):
        flavour.run(flavour.call(flow))
    launch()
    assert flavour.run(flavour.ask("get_result", "w")) == "woken"
    assert calls == ["first"]
    status = DBOS.get_workflow_status("w")
    assert status is not None
    assert status.recovery_attempts == 2


def test_destroy_waits_for_what_runs_as_long_as_it_is_told_to(launch: Launch, flavour: Flavour) -> None:
    """And what runs may go on as if nothing were: steps, sleeps and children."""
    began = threading.Event()

    @flavour.step()
    async def step() -> str:
        return "step"

    @flavour.workflow()
    async def child() -> str:
        return "child"

    @flavour.workflow()
    async def flow() -> list[Any]:
        began.set()
        await flavour.pause(0.3)
        await flavour.ask("sleep", 0.1)
        called = await flavour.call(child)
        started = await flavour.result(await flavour.start(child))
        status = await flavour.ask("get_workflow_status", DBOS.workflow_id)
        return [await flavour.call(step), called, started, status.status]

    launch()
    with SetWorkflowID("w"):
        flavour.run(flavour.start(flow))
    assert began.wait(30)
    DBOS.destroy(workflow_completion_timeout_sec=60)
    launch()
    status = DBOS.get_workflow_status("w")
    assert status is not None
    assert (status.status, status.output) == ("SUCCESS", ["step", "child", "child", "PENDING"])


def test_destroy_does_not_wait_longer_than_it_is_told_to(launch: Launch, flavour: Flavour) -> None:
    began, go = threading.Event(), threading.Event()
    ended: list[str] = []

    @flavour.workflow()
    async def flow() -> str:
        began.set()
        await flavour.until_set(go)
        ended.append("user code")
        await flavour.ask("sleep", 0.01)
        return "done"

    launch()
    with SetWorkflowID("w"):
        flavour.run(flavour.start(flow))
    assert began.wait(30)
    DBOS.destroy(workflow_completion_timeout_sec=0.1)
    go.set()
    launch()
    assert flavour.run(flavour.ask("get_result", "w")) == "done"


def test_destroy_can_forget_the_functions(launch: Launch) -> None:
    @DBOS.workflow(name="flow")
    def flow() -> None: ...

    Queue("a-queue")
    launch()
    DBOS.destroy(destroy_registry=True)
    Queue("a-queue")

    @DBOS.workflow(name="flow")
    def other() -> int:
        return 1

    launch()
    assert other() == 1


def test_destroy_without_a_dbos_does_nothing(nothing_launched: None) -> None:
    DBOS.destroy()
    DBOS.destroy(workflow_completion_timeout_sec=1)


def test_launch_in_a_running_event_loop_runs_async_workflows_on_it(launch: Launch) -> None:
    @DBOS.workflow()
    async def flow() -> int:
        return id(asyncio.get_running_loop())

    async def main() -> None:
        launch()
        handle = await DBOS.start_workflow_async(flow)
        assert await handle.get_result() == id(asyncio.get_running_loop())
        DBOS.destroy()

    asyncio.run(main())


def test_reset_deletes_the_data_and_needs_no_launch(
    launch: Launch, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    @DBOS.workflow()
    def flow() -> int:
        return 1

    launch()
    with SetWorkflowID("w"):
        flow()
    with pytest.raises(DBOSException, match=r"before DBOS\.launch"):
        DBOS.reset_system_database()
    DBOS.destroy()
    DBOS(config={"name": "test-app", "system_database_url": database_url})
    DBOS.reset_system_database()
    DBOS.launch()
    assert DBOS.get_workflow_status("w") is None
    DBOS.destroy()

    caplog.clear()
    DBOS.reset_system_database()
    assert "does nothing" in caplog.text
    DBOS.reset_system_database(system_database_url=database_url)
    launch()
    assert DBOS.list_workflows() == []


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_programs_does_not_end_workflows(
    launch: Launch, flavour: Flavour, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    launch(lease_ttl_seconds=1.5)
    runs: list[int] = []

    @flavour.step()
    async def leave() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise kind
        return "stayed"

    @flavour.workflow()
    async def flow() -> str:
        if flavour.is_async:  # in a task of its own: asyncio lets it out of the loop
            return (await asyncio.gather(flavour.call(leave)))[0]
        return str(await flavour.call(leave))

    async def main() -> str:
        return str(await flavour.result(await flavour.start(flow)))

    assert flavour.run(main()) == "stayed"
    assert len(runs) == 2
    assert kind.__name__ in caplog.text


PROGRAM = """
import os, sys, threading, time
from pyengine import DBOS, SetWorkflowID

DBOS(config={"name": "test-app", "system_database_url": os.environ["TEST_URL"], "application_version": "v1"})
"""


def test_background_workflows_do_not_keep_a_program_alive(
    database_url: str, processes: Processes, launch: Launch, executors: Callable[[], list[Any]]
) -> None:
    program = processes.start(
        PROGRAM
        + """
busy = threading.Event()

@DBOS.workflow(name="asleep")
def asleep():
    DBOS.sleep(0.5)
    return "woken"

@DBOS.workflow(name="busy")
def is_busy():
    busy.set()
    time.sleep(300)

@DBOS.workflow(name="on a loop")
async def on_a_loop():
    await DBOS.sleep_async(300)

DBOS.launch()
for flow in (asleep, is_busy, on_a_loop):
    with SetWorkflowID(flow.__name__):
        DBOS.start_workflow(flow)
busy.wait()
print("end of the program")
""",
        env={"TEST_URL": database_url},
    )
    assert program.wait(30) == 0, program.report()
    assert program.stdout == ["end of the program"]
    assert "Traceback" not in program.report()
    assert executors() == [(1, "retired", True)]

    @DBOS.workflow(name="asleep")
    def asleep() -> str:
        DBOS.sleep(0.5)
        return "woken"

    @DBOS.workflow(name="busy")
    def is_busy() -> str:
        return "not any more"

    @DBOS.workflow(name="on a loop")
    async def on_a_loop() -> None:
        await DBOS.sleep_async(300)

    launch(application_version="v1")
    assert DBOS.get_result("asleep") == "woken"
    assert DBOS.get_result("is_busy") == "not any more"
    DBOS.cancel_workflow("on_a_loop")
    with pytest.raises(DBOSAwaitedWorkflowCancelledError):
        DBOS.get_result("on_a_loop")


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="fork")
def test_a_forked_child_has_no_engine_and_may_launch_its_own(
    database_url: str, processes: Processes, executors: Callable[[], list[Any]]
) -> None:
    program = processes.start(
        PROGRAM
        + """
import asyncio
import gc

@DBOS.step()
def step(text):
    return text.upper()

@DBOS.workflow()
def flow(text):
    return step(text)

@DBOS.workflow()
async def async_flow(text):
    return step(text)

@DBOS.workflow()
def forking():
    pid = os.fork()
    if pid == 0:
        try:
            step("of the child")
            print("unexpected")
        except RuntimeError as error:
            print("in a workflow:", error)
        os._exit(0)
    os.waitpid(pid, 0)
    return step("of the parent")

DBOS.launch()
print(flow("parent"), asyncio.run(async_flow("parent")))
pid = os.fork()
if pid == 0:
    for call in (lambda: flow("child"), lambda: DBOS.start_workflow(flow, "child"), lambda: DBOS.list_workflows()):
        try:
            call()
            print("unexpected")
        except Exception as error:
            print(type(error).__name__, "launched in this process" in str(error))
    DBOS.launch()
    print(flow("child"), asyncio.run(async_flow("child")), DBOS.start_workflow(async_flow, "other").get_result())
    print("child", DBOS.executor_id)
    DBOS.destroy()
    sys.exit(7)
print("exit status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(flow("still here"))
print(forking())
""",
        env={"TEST_URL": database_url},
    )
    assert program.wait(60) == 0, program.report()
    *lines, last, after = program.stdout
    assert lines[:5] == [
        "PARENT PARENT",
        "DBOSException True",
        "DBOSException True",
        "DBOSException True",
        "CHILD CHILD OTHER",
    ]
    assert lines[6:8] == ["exit status 7", "STILL HERE"], program.report()
    assert "in a workflow: " in last
    assert "after the fork" in last
    assert after == "OF THE PARENT"
    assert "Traceback" not in program.report()
    assert executors() == [(1, "retired", True), (2, "retired", True)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what the kernel lists")
def test_launching_again_and_again_leaves_nothing_open(launch: Launch) -> None:
    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(4):
        launch()
        DBOS.destroy()
    # Threads that were in the middle of something close what they had when they have ended.
    wait_until(lambda: count() <= before, what="everything is closed", timeout_seconds=30)
