"""Jobs of `procrastinate`: async tasks, async connector, a worker with many jobs at a time and LISTEN."""

from __future__ import annotations

import asyncio
import time

from procrastinate import App, PsycopgConnector
from wire import PAYLOAD, Floor, Meter, quantiles, run, say, wait_for_end, wait_for_go

CONCURRENCY = 32


def application(url: str) -> App:
    return App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=CONCURRENCY))


def tasks(app: App, begun: dict[str, float] | None = None) -> dict[str, object]:
    @app.task(name="job", queue="work")
    async def job(payload: str) -> None:
        if begun is not None:
            begun[payload] = time.time()

    return {"job": job}


def command(body):  # type: ignore[no-untyped-def]
    def called(url: str, **options: object) -> None:
        asyncio.run(body(url, **options))

    called.__name__ = body.__name__
    return called


@command
async def install(url: str) -> None:
    async with application(url).open_async() as app:
        await app.schema_manager.apply_schema_async()
    say(result={})


@command
async def sequential(url: str, blocks: int, each: int) -> None:
    app = application(url)
    job = tasks(app)["job"]
    floor = Floor(url)
    took = []
    async with app.open_async():
        for block in range(blocks + 1):
            for _ in range(each):
                floor.insert()
            for _ in range(each):
                began = time.perf_counter()
                await job.defer_async(payload=PAYLOAD)
                took.append(time.perf_counter() - began)
            if block == 0:
                took.clear()
                floor.took.clear()
    say(insert=quantiles(floor.took), enqueue=quantiles(took), count=blocks * each)


@command
async def enqueue_many(url: str, kind: str, concurrency: int, seconds: float) -> None:
    app = application(url)
    job = tasks(app)["job"]
    async with app.open_async():
        wait_for_go()
        meter = Meter(seconds)

        async def caller() -> None:
            while meter.goes_on():
                began = time.time()
                await job.defer_async(payload=PAYLOAD)
                meter.note(began)

        await asyncio.gather(*(caller() for _ in range(concurrency)))
    say(result=meter.facts())


@command
async def fill(url: str, count: int, steps: int, kind: str) -> None:
    app = application(url)
    job = tasks(app)["job"]
    took = []
    async with app.open_async():
        wait_for_go()
        before, began = time.process_time(), time.time()
        for start in range(0, count, 500):
            called = time.perf_counter()
            await job.batch_defer_async(*({"payload": PAYLOAD} for _ in range(start, min(count, start + 500))))
            took.append(time.perf_counter() - called)
    say(result={"seconds": time.time() - began, "cpu": time.process_time() - before, **quantiles(took)})


@command
async def work(url: str) -> None:
    app = application(url)
    tasks(app)
    wait_for_go()
    async with app.open_async():
        before = time.process_time()
        worker = asyncio.create_task(
            app.run_worker_async(queues=["work"], concurrency=CONCURRENCY, install_signal_handlers=False)
        )
        say(launched=True)
        ended = asyncio.get_running_loop().run_in_executor(None, wait_for_end)
        await asyncio.wait([worker, ended], return_when=asyncio.FIRST_COMPLETED)
        say(result={"cpu": time.process_time() - before})
        run_out()


def run_out() -> None:
    import os

    os._exit(0)


if __name__ == "__main__":
    run({each.__name__: each for each in (install, sequential, enqueue_many, fill, work)})
