"""A program whose types a checker must see through the decorators. Checked by test_typing.py, never run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from typing_extensions import assert_type

from pyengine import DBOS, Queue, WorkflowHandle, WorkflowHandleAsync

queue = Queue("typed")


@DBOS.step(retries_allowed=True)
def double(number: int) -> int:
    return number * 2


@DBOS.workflow()
def greet(name: str, *, loud: bool = False) -> str:
    return name.upper() if loud else name


@DBOS.workflow(name="later")
async def greet_later(name: str) -> str:
    return name


assert_type(double, Callable[[int], int])  # type: ignore[assert-type]  # mypy shows the parameter's name, too
assert_type(double(1), int)
assert_type(greet("Ada", loud=True), str)
assert_type(DBOS.start_workflow(greet, "Ada"), WorkflowHandle[str])
assert_type(DBOS.start_workflow(greet, "Ada").get_result(), str)
assert_type(queue.enqueue(double, 2), WorkflowHandle[int])
coroutine: Coroutine[Any, Any, str] = greet_later("Ada")


async def use() -> None:
    assert_type(await DBOS.start_workflow_async(greet_later, "Ada"), WorkflowHandleAsync[str])
    assert_type(await (await queue.enqueue_async(greet_later, "Ada")).get_result(), str)
    assert_type(DBOS.workflow_id, str | None)


greet(1)  # type: ignore[arg-type]
double("1")  # type: ignore[arg-type]
DBOS.start_workflow(greet, 1)  # type: ignore[arg-type]
queue.enqueue(double, number="1")  # type: ignore[arg-type]
