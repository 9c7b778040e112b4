"""Tasks of `absurd-sdk`: the schema comes with `absurdctl`; an async worker that claims in batches."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import psycopg
from absurd_sdk import Absurd, AsyncAbsurd
from wire import PAYLOAD, Floor, Meter, quantiles, run, say, wait_for_end, wait_for_go

CONCURRENCY = 32


def install(url: str) -> None:
    import absurdctl

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
        connection.execute("select absurd.create_queue('work')")
    say(result={})


def sequential(url: str, blocks: int, each: int) -> None:
    app = Absurd(url, queue_name="work")
    floor = Floor(url)
    took = []
    for block in range(blocks + 1):
        for _ in range(each):
            floor.insert()
        for _ in range(each):
            began = time.perf_counter()
            app.spawn("job", {"payload": PAYLOAD, "steps": 1}, queue="work")
            took.append(time.perf_counter() - began)
        if block == 0:
            took.clear()
            floor.took.clear()
    say(insert=quantiles(floor.took), enqueue=quantiles(took), count=blocks * each)


def enqueue_many(url: str, kind: str, concurrency: int, seconds: float) -> None:
    apps = [Absurd(url, queue_name="work") for _ in range(min(concurrency, CONCURRENCY))]
    wait_for_go()
    meter = Meter(seconds)

    def caller(app: Absurd) -> None:
        while meter.goes_on():
            began = time.time()
            app.spawn("job", {"payload": PAYLOAD, "steps": 1}, queue="work")
            meter.note(began)

    in_threads(apps, caller)
    say(result=meter.facts())


def in_threads(apps: list[Absurd], body: Any) -> None:
    threads = [threading.Thread(target=body, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def fill(url: str, count: int, steps: int, kind: str) -> None:
    apps = [Absurd(url, queue_name="work") for _ in range(8)]
    numbers = iter(range(count))
    lock = threading.Lock()
    took: list[float] = []

    def caller(app: Absurd) -> None:
        while True:
            with lock:
                if next(numbers, None) is None:
                    return
            began = time.perf_counter()
            app.spawn("job", {"payload": PAYLOAD, "steps": steps}, queue="work")
            took.append(time.perf_counter() - began)

    wait_for_go()
    before, began = time.process_time(), time.time()
    in_threads(apps, caller)
    say(result={"seconds": time.time() - began, "cpu": time.process_time() - before, **quantiles(took)})


def work(url: str) -> None:
    async def main() -> None:
        app = AsyncAbsurd(url, queue_name="work")

        @app.register_task("job")
        async def job(params: Any, context: Any) -> str:
            async def body() -> str:
                return PAYLOAD

            for number in range(params["steps"]):
                await context.step(f"step {number}", body)
            return PAYLOAD

        wait_for_go()
        before = time.process_time()
        worker = asyncio.create_task(
            app.start_worker(concurrency=CONCURRENCY, batch_size=CONCURRENCY, poll_interval=0.05)
        )
        say(launched=True)
        ended = asyncio.get_running_loop().run_in_executor(None, wait_for_end)
        await asyncio.wait([worker, ended], return_when=asyncio.FIRST_COMPLETED)
        say(result={"cpu": time.process_time() - before})
        os._exit(0)

    asyncio.run(main())


if __name__ == "__main__":
    run({each.__name__: each for each in (install, sequential, enqueue_many, fill, work)})
