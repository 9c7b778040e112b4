"""The loop that async workflows run on: runs begin in order, on whichever loop is there."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.sessions import wait_until
from pyengine.runtime.loops import WorkflowLoop

Begin = Callable[..., Any]
name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


def begin(loop: WorkflowLoop, core: Any, context: contextvars.Context | None = None) -> Any:
    run = SimpleNamespace(task=None)
    loop.begin(run, core, context or contextvars.Context())
    return run


@pytest.fixture
def loop() -> Iterator[WorkflowLoop]:
    made = WorkflowLoop()
    yield made
    made.stop()


def test_runs_begin_in_the_order_they_come(loop: WorkflowLoop) -> None:
    begun: list[int] = []

    async def run(number: int) -> None:
        begun.append(number)

    for number in range(1000):
        begin(loop, run(number))
    wait_until(lambda: len(begun) == 1000)
    assert begun == list(range(1000))


def test_runs_that_come_together_wake_the_loop_once(loop: WorkflowLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    held, done, wakes = threading.Event(), threading.Event(), []

    async def hold() -> None:
        held.set()
        time.sleep(0.3)

    async def run() -> None:
        done.set()

    begin(loop, hold())
    assert held.wait(10)
    own = loop._own
    assert own is not None
    wake = own.call_soon_threadsafe
    monkeypatch.setattr(own, "call_soon_threadsafe", lambda *given, **named: (wakes.append(1), wake(*given, **named)))
    for _ in range(100):
        begin(loop, run())
    assert done.wait(10)
    assert len(wakes) == 1


def test_a_run_sees_its_own_context(loop: WorkflowLoop) -> None:
    seen: list[str] = []

    async def run() -> None:
        seen.append(name.get())
        name.set("changed")

    contexts = []
    for each in ("one", "two"):
        context = contextvars.Context()
        context.run(name.set, each)
        contexts.append(context)
        begin(loop, run(), context)
    begin(loop, run())
    wait_until(lambda: len(seen) == 3)
    assert seen == ["one", "two", "nobody"]
    assert [context.run(name.get) for context in contexts] == ["one", "two"]


def test_a_run_that_waits_is_not_collected(loop: WorkflowLoop) -> None:
    """Nobody holds what it waits for but itself."""
    begun, ended = threading.Event(), threading.Event()

    async def run() -> None:
        try:
            waits = asyncio.get_running_loop().create_future()
            begun.set()
            await waits
        finally:
            ended.set()

    kept = begin(loop, run())
    assert begun.wait(10)
    gc.collect()
    assert not ended.is_set()
    assert not kept.task.done()


def test_what_a_loop_left_that_has_ended_begins_on_the_next() -> None:
    done: list[str] = []

    async def run(what: str) -> None:
        done.append(what)

    async def application() -> WorkflowLoop:
        adopting = WorkflowLoop()
        # The application ends before the loop comes to it.
        begin(adopting, run("left"))
        asyncio.get_running_loop().stop()
        return adopting

    adopted = asyncio.new_event_loop()
    task = adopted.create_task(application())
    adopted.run_forever()
    loop = task.result()
    adopted._ready.clear()  # type: ignore[attr-defined]
    adopted.close()
    begin(loop, run("new"))
    wait_until(lambda: len(done) == 2)
    assert done == ["left", "new"]
    loop.stop()


def test_a_run_that_ends_the_interpreter_ends_no_other(loop: WorkflowLoop) -> None:
    done = threading.Event()

    async def leave() -> None:
        raise SystemExit(1)

    async def run() -> None:
        done.set()

    begin(loop, leave())
    begin(loop, run())
    assert done.wait(10)
