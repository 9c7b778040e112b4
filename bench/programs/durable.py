"""The workflows of this engine and of `dbos`, whose programs read alike: one program for both.

Two application versions keep the parts of a cell apart: what is enqueued is of version "work", and only processes of
that version run it; a process that only enqueues is of another one.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wire import PAYLOAD, Floor, Meter, quantiles, run, say, wait_for_end, wait_for_go

ENGINE: Any = importlib.import_module(sys.argv[1])
DBOS: Any = ENGINE.DBOS
IS_OURS = ENGINE.__name__ == "pyengine"
REGISTERS_QUEUES = hasattr(DBOS, "register_queue")  # dbos 3
QUEUES: dict[str, Any] = {}
LIST = 1024  # to a call of enqueue_many


@DBOS.step()
def step(payload: str) -> str:
    return payload


@DBOS.step()
async def step_async(payload: str) -> str:
    return payload


@DBOS.workflow()
def stepping(count: int) -> list[float]:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        step(PAYLOAD)
        took.append(time.perf_counter() - began)
    return took


@DBOS.workflow()
def steps_of(payload: str, steps: int) -> str:
    for _ in range(steps):
        step(payload)
    return payload


@DBOS.workflow()
async def steps_of_async(payload: str, steps: int) -> str:
    for _ in range(steps):
        await step_async(payload)
    return payload


@DBOS.workflow()
def when_begun(payload: str) -> float:
    return time.time()


def launch(
    url: str, version: str, queues: dict[str, dict[str, Any]] | None = None, settings: dict[str, Any] | None = None
) -> None:
    given = {"name": "bench", "system_database_url": url, "application_version": version, "log_level": "ERROR"}
    DBOS(config=given | (settings or {}))
    queues = {"work": {}} if queues is None else queues
    if not REGISTERS_QUEUES:
        QUEUES.update({name: ENGINE.Queue(name, **limits) for name, limits in queues.items()})
    DBOS.launch()
    if REGISTERS_QUEUES:
        for name, limits in queues.items():
            DBOS.register_queue(name, **limits)


def enqueue(queue: str, function: Callable[..., Any], *arguments: Any) -> Any:
    if REGISTERS_QUEUES:
        return DBOS.enqueue_workflow(queue, function, *arguments)
    return QUEUES[queue].enqueue(function, *arguments)


@contextmanager
def for_workers(partition: str | None = None) -> Iterator[None]:
    options = {"queue_partition_key": partition} if partition else {}
    with ENGINE.SetEnqueueOptions(app_version="work", **options):
        yield


def in_threads(count: int, body: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- commands ----------------------------------------------------------------------------------------


def install(url: str) -> None:
    """Only the schema: no trace of a process."""
    if IS_OURS:
        importlib.import_module("pyengine.schema").install(url)
    else:
        launch(url, "installer", {})
        DBOS.destroy()
    say(result={})


def sequential(url: str, blocks: int, each: int) -> None:
    """INSERT, step and workflow by turns, so that whatever else the machine does hits all three."""
    launch(url, "alone")
    floor = Floor(url)
    steps: list[float] = []
    workflows: list[float] = []
    enqueues: list[float] = []
    stepping(each)
    for _ in range(each):
        steps_of(PAYLOAD, 1)
        floor.insert()
    floor.took.clear()
    for _ in range(blocks):
        for _ in range(each):
            floor.insert()
        steps += stepping(each)
        for _ in range(each):
            began = time.perf_counter()
            steps_of(PAYLOAD, 1)
            workflows.append(time.perf_counter() - began)
        for _ in range(each):
            began = time.perf_counter()
            with for_workers():
                enqueue("work", steps_of, PAYLOAD, 1)
            enqueues.append(time.perf_counter() - began)
    say(
        insert=quantiles(floor.took), step=quantiles(steps), workflow=quantiles(workflows), enqueue=quantiles(enqueues),
        count=blocks * each,
    )  # fmt: skip


def concurrent(url: str, kind: str, concurrency: int, seconds: float) -> None:
    """So many callers, each of which runs 1-step workflows one after another."""
    launch(url, "alone")
    wait_for_go()
    meter = Meter(seconds)

    def caller(_: int) -> None:
        while meter.goes_on():
            began = time.time()
            steps_of(PAYLOAD, 1)
            meter.note(began)

    async def caller_async() -> None:
        while meter.goes_on():
            began = time.time()
            await steps_of_async(PAYLOAD, 1)
            meter.note(began)

    async def all_callers() -> None:
        await asyncio.gather(*(caller_async() for _ in range(concurrency)))

    if kind == "async":
        asyncio.run(all_callers())
    else:
        in_threads(concurrency, caller)
    say(result=meter.facts())


def enqueue_many(url: str, kind: str, concurrency: int, seconds: float) -> None:
    """So many callers enqueue; nobody runs it."""
    launch(url, "alone")
    wait_for_go()
    meter = Meter(seconds)

    def caller(_: int) -> None:
        with for_workers():
            while meter.goes_on():
                began = time.time()
                enqueue("work", steps_of, PAYLOAD, 1)
                meter.note(began)

    in_threads(concurrency, caller)
    say(result=meter.facts())


def fill(url: str, count: int, steps: int, kind: str, queues: dict[str, Any] | None = None, lanes: int = 0) -> None:
    launch(url, "filler", queues)
    names = list(QUEUES) or list(queues or {"work": {}})
    function = steps_of_async if kind == "async" else steps_of
    is_in_lists = IS_OURS and not lanes and names == ["work"]
    numbers = iter(range(0, count, LIST if is_in_lists else 1))
    lock = threading.Lock()
    took: list[float] = []

    def enqueue_list(first: int) -> None:
        with for_workers():
            QUEUES["work"].enqueue_many(function, ((PAYLOAD, steps) for _ in range(min(LIST, count - first))))

    def enqueue_one(number: int) -> None:
        with for_workers(f"lane {number % lanes}" if lanes else None):
            enqueue(names[number % len(names)], function, PAYLOAD, steps)

    def caller(_: int) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            began = time.perf_counter()
            (enqueue_list if is_in_lists else enqueue_one)(number)
            took.append(time.perf_counter() - began)

    wait_for_go()
    before, began = time.process_time(), time.time()
    in_threads(1 if is_in_lists else 32 if IS_OURS else 16, caller)
    say(result={"seconds": time.time() - began, "cpu": time.process_time() - before, **quantiles(took)})


def work(url: str, queues: dict[str, Any] | None = None, settings: dict[str, Any] | None = None) -> None:
    wait_for_go()
    launch(url, "work", queues, settings)
    before = time.process_time()
    say(launched=True)
    wait_for_end()
    say(result={"cpu": time.process_time() - before})


def press(
    url: str, queue: str, rate: float, callers: int, queues: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Enqueue at a steady rate until told to end. Who comes late does not wait, so that the rate is kept."""
    launch(url, "presser", queues, settings)
    wait_for_go()
    is_over = threading.Event()
    begin = time.monotonic()
    counts = [0] * callers

    def caller(number: int) -> None:
        with for_workers():
            due = begin + number / rate
            while not is_over.wait(max(0.0, due - time.monotonic())):
                enqueue(queue, steps_of, PAYLOAD, 1)
                counts[number] += 1
                due += callers / rate

    threading.Thread(target=lambda: (wait_for_end(), is_over.set()), daemon=True).start()
    say(pressing=True)
    in_threads(callers, caller)
    say(result={"rate": sum(counts) / (time.monotonic() - begin), "count": sum(counts)})


def latency(
    url: str, rounds: int, count: int, pause: float, awaited: int, queues: dict[str, Any] | None = None
) -> None:
    """Enqueued here, begun in the process of `work`, its result read here, with a pause each time. Where results take
    long, only so many are waited for at once.
    """
    launch(url, "client", queues)
    for _ in range(rounds):
        wait_for_go()
        starts, results, left = [], [], []
        for number in range(-2, count):
            began = time.time()
            with for_workers():
                handle = enqueue("work", when_begun, PAYLOAD)
            if number < awaited:
                starts.append(handle.get_result() - began)
                results.append(time.time() - began)
            else:
                left.append((handle, began))
            time.sleep(pause * (0.5 + (number + 2) * 0.618 % 1))
        starts += [handle.get_result() - began for handle, began in left]
        say(result={"start": quantiles(starts[2:]), "result": quantiles(results[2:])})


def watch(url: str, pause: float, queues: dict[str, Any] | None = None, settings: dict[str, Any] | None = None) -> None:
    """As `latency`, for hours: each one is told as it comes."""
    launch(url, "client", queues, settings)
    wait_for_go()
    is_over = threading.Event()
    threading.Thread(target=lambda: (wait_for_end(), is_over.set()), daemon=True).start()
    while not is_over.wait(pause):
        began = time.time()
        with for_workers():
            handle = enqueue("work", when_begun, PAYLOAD)
        start = handle.get_result() - began
        say(start=start, result=time.time() - began)
    say(ended=True)


if __name__ == "__main__":
    run(
        {
            each.__name__: each
            for each in (install, sequential, concurrent, enqueue_many, fill, work, press, latency, watch)
        }
    )
