"""Single calls, as benchmarks: one round in CI, so that they never rot; `make bench-smoke` shows what they took."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pyengine import DBOS, Queue, SetEnqueueOptions

ROUNDS = {"rounds": 1, "iterations": 1, "warmup_rounds": 1}


@dataclass(frozen=True)
class Program:
    """A program that has launched: its workflows are registered for each test, whatever other tests registered."""

    queue: Queue
    workflow: Callable[[str], str]
    workflow_async: Callable[[str], Coroutine[Any, Any, str]]


@pytest.fixture
def program(database_url: str) -> Iterator[Program]:
    DBOS.destroy(destroy_registry=True)
    DBOS(config={"name": "bench-calls", "system_database_url": database_url})

    @DBOS.step()
    def step(payload: str) -> str:
        return payload

    @DBOS.workflow()
    def workflow(payload: str) -> str:
        return step(payload)

    @DBOS.workflow()
    async def workflow_async(payload: str) -> str:
        return payload

    made = Program(Queue(f"bench-{secrets.token_hex(4)}"), workflow, workflow_async)
    DBOS.launch()
    yield made
    DBOS.destroy(destroy_registry=True)


def test_workflow_of_one_step(benchmark: BenchmarkFixture, program: Program) -> None:
    assert benchmark.pedantic(program.workflow, args=("x",), **ROUNDS) == "x"


def test_enqueue(benchmark: BenchmarkFixture, program: Program) -> None:
    with SetEnqueueOptions(app_version="nobody's"):
        handle = benchmark.pedantic(program.queue.enqueue, args=(program.workflow, "x"), **ROUNDS)

    assert handle.get_status().status == "ENQUEUED"


def test_enqueue_many(benchmark: BenchmarkFixture, program: Program) -> None:
    with SetEnqueueOptions(app_version="nobody's"):
        handles = benchmark.pedantic(program.queue.enqueue_many, args=(program.workflow, [("x",)] * 300), **ROUNDS)

    assert len({handle.workflow_id for handle in handles}) == 300


def test_enqueue_and_result(benchmark: BenchmarkFixture, program: Program) -> None:
    assert benchmark.pedantic(lambda: program.queue.enqueue(program.workflow, "x").get_result(), **ROUNDS) == "x"


def test_enqueue_and_result_of_an_async_workflow(benchmark: BenchmarkFixture, program: Program) -> None:
    assert benchmark.pedantic(lambda: program.queue.enqueue(program.workflow_async, "x").get_result(), **ROUNDS) == "x"
