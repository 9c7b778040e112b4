"""Single calls, as benchmarks: one round in CI, so that they never rot; `make bench-smoke` shows what they took."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pyengine import DBOS, Queue, SetEnqueueOptions

ROUNDS = {"rounds": 1, "iterations": 1, "warmup_rounds": 1}


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    DBOS(config={"name": "bench-calls", "system_database_url": database_url})
    made = Queue(f"bench-{secrets.token_hex(4)}")
    DBOS.launch()
    yield made
    DBOS.destroy()


@DBOS.step()
def bench_step(payload: str) -> str:
    return payload


@DBOS.workflow()
def bench_workflow(payload: str) -> str:
    return bench_step(payload)


@DBOS.workflow()
async def bench_workflow_async(payload: str) -> str:
    return payload


@pytest.mark.usefixtures("queue")
def test_workflow_of_one_step(benchmark: BenchmarkFixture) -> None:
    assert benchmark.pedantic(bench_workflow, args=("x",), **ROUNDS) == "x"


def test_enqueue(benchmark: BenchmarkFixture, queue: Queue) -> None:
    with SetEnqueueOptions(app_version="nobody's"):
        handle = benchmark.pedantic(queue.enqueue, args=(bench_workflow, "x"), **ROUNDS)

    assert handle.get_status().status == "ENQUEUED"


def test_enqueue_many(benchmark: BenchmarkFixture, queue: Queue) -> None:
    with SetEnqueueOptions(app_version="nobody's"):
        handles = benchmark.pedantic(queue.enqueue_many, args=(bench_workflow, [("x",)] * 300), **ROUNDS)

    assert len({handle.workflow_id for handle in handles}) == 300


def test_enqueue_and_result(benchmark: BenchmarkFixture, queue: Queue) -> None:
    assert benchmark.pedantic(lambda: queue.enqueue(bench_workflow, "x").get_result(), **ROUNDS) == "x"


def test_enqueue_and_result_of_an_async_workflow(benchmark: BenchmarkFixture, queue: Queue) -> None:
    assert benchmark.pedantic(lambda: queue.enqueue(bench_workflow_async, "x").get_result(), **ROUNDS) == "x"
