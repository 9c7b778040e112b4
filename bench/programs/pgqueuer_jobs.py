"""Jobs of `pgqueuer`: asyncpg, uvloop, lists at enqueueing, large batches at dequeueing."""

from __future__ import annotations

import asyncio
import os
import time

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from wire import PAYLOAD, Floor, Meter, quantiles, run, say, wait_for_end, wait_for_go

BATCH = 100
DATA = PAYLOAD.encode()


def command(body):  # type: ignore[no-untyped-def]
    def called(url: str, **options: object) -> None:
        uvloop.run(body(url, **options))

    called.__name__ = body.__name__
    return called


async def queries(url: str) -> Queries:
    return Queries(AsyncpgDriver(await asyncpg.connect(url)))


@command
async def install(url: str) -> None:
    await (await queries(url)).install()
    say(result={})


@command
async def sequential(url: str, blocks: int, each: int) -> None:
    queue = await queries(url)
    floor = Floor(url)
    took = []
    for block in range(blocks + 1):
        for _ in range(each):
            floor.insert()
        for _ in range(each):
            began = time.perf_counter()
            await queue.enqueue("job", DATA)
            took.append(time.perf_counter() - began)
        if block == 0:
            took.clear()
            floor.took.clear()
    say(insert=quantiles(floor.took), enqueue=quantiles(took), count=blocks * each)


@command
async def enqueue_many(url: str, kind: str, concurrency: int, seconds: float) -> None:
    queues = [await queries(url) for _ in range(min(concurrency, 32))]
    wait_for_go()
    meter = Meter(seconds)

    async def caller(queue: Queries) -> None:
        while meter.goes_on():
            began = time.time()
            await queue.enqueue("job", DATA)
            meter.note(began)

    await asyncio.gather(*(caller(queue) for queue in queues))
    say(result=meter.facts())


@command
async def fill(url: str, count: int, steps: int, kind: str) -> None:
    queue = await queries(url)
    took = []
    wait_for_go()
    before, began = time.process_time(), time.time()
    for start in range(0, count, 1000):
        size = min(1000, count - start)
        called = time.perf_counter()
        await queue.enqueue(["job"] * size, [DATA] * size, [0] * size)
        took.append(time.perf_counter() - called)
    say(result={"seconds": time.time() - began, "cpu": time.process_time() - before, **quantiles(took)})


@command
async def work(url: str) -> None:
    queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

    @queue.entrypoint("job")
    async def job(_: object) -> None:
        return None

    wait_for_go()
    before = time.process_time()
    worker = asyncio.create_task(queue.run(batch_size=BATCH))
    say(launched=True)
    ended = asyncio.get_running_loop().run_in_executor(None, wait_for_end)
    await asyncio.wait([worker, ended], return_when=asyncio.FIRST_COMPLETED)
    say(result={"cpu": time.process_time() - before})
    os._exit(0)


if __name__ == "__main__":
    run({each.__name__: each for each in (install, sequential, enqueue_many, fill, work)})
