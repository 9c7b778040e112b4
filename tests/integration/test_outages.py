"""Postgres goes away and comes back: nothing acknowledged is lost, nobody is taken for dead, and one line says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plugins.embedded_projects import eventually, is_running
from plugins.fleet import Facts
from plugins.private_cluster import Cluster
from plugins.processes import Processes
from pyengine import DBOS, Queue, SetWorkflowID
from pyengine.api._state import executor
from pyengine.db import database

Launch = Callable[..., type[DBOS]]
LOST, FOUND = "Postgres is not answering", "Postgres is answering again"


@contextlib.contextmanager
def in_background(work: Callable[[], None], every_seconds: float) -> Iterator[None]:
    """Do something again and again while the block runs."""
    stopped = threading.Event()
    problems: list[BaseException] = []

    def repeat() -> None:
        while not stopped.wait(every_seconds):
            try:
                work()
            except BaseException as problem:
                problems.append(problem)
                return

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    assert problems == []


def test_connections_that_break_under_load_lose_and_repeat_nothing(
    dbos: type[DBOS], facts: Facts, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    queue, limited = Queue("work"), Queue("limited", concurrency=4)
    steps: Counter[str] = Counter()
    lock = threading.Lock()

    @DBOS.step()
    def step(name: str) -> str:
        with lock:
            steps[name] += 1
        return name

    @DBOS.workflow()
    def child(number: int) -> int:
        step(f"child {number}")
        return number

    @DBOS.workflow()
    def flow(number: int) -> int:
        step(f"flow {number}")
        handle = limited.enqueue(child, number)
        DBOS.sleep(0.05)
        return handle.get_result() + child(10_000 + number)

    @DBOS.workflow()
    async def flow_async(number: int) -> int:
        handle = await queue.enqueue_async(child, 20_000 + number)  # type: ignore[arg-type]
        await DBOS.sleep_async(0.05)
        return int(await handle.get_result()) if handle else 0

    killer = Facts(session_factory())
    killed = 0

    def kill() -> None:
        nonlocal killed
        killed += killer.one(
            "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'pyengine' and datname = current_database()) as gone"
        )

    handles: list[Any] = []
    results: list[Any] = []
    count = 0
    with in_background(kill, 0.15):
        while killed <= 20:  # however quick the machine is
            for number in range(count, count + 60):
                handles.append(queue.enqueue(flow, number))
                handles.append(queue.enqueue(flow_async, number))  # type: ignore[arg-type]
            count += 60
            results += [handle.get_result() for handle in handles[len(results) :]]
    assert results[::2] == [10_000 + 2 * number for number in range(count)]
    assert results[1::2] == [20_000 + number for number in range(count)]
    assert set(steps.values()) == {1}, "a step ran twice"
    assert facts.unfinished() == 0
    assert facts.one("select count(*) from pyengine.outcomes") == count * 5
    assert facts.one("select count(*) from pyengine.executors where dead_at is not null") == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_a_restart_of_postgres_is_survived(
    own_cluster: Cluster, own_database_url: str, how: int, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    DBOS.destroy(destroy_registry=True)
    DBOS(config={"name": "test-app", "system_database_url": own_database_url, "lease_ttl_seconds": 2})
    queue = Queue("work", concurrency=10)
    steps: Counter[str] = Counter()

    @DBOS.step()
    def step(name: str) -> str:
        steps[name] += 1
        time.sleep(0.02)
        return name

    @DBOS.workflow()
    def flow(number: int) -> int:
        step(f"one {number}")
        DBOS.sleep(1)
        step(f"two {number}")
        return number

    @DBOS.workflow()
    async def flow_async(number: int) -> int:
        await DBOS.sleep_async(4)
        return number

    DBOS.launch()
    try:
        me = executor("test").identity
        handles: list[Any] = [queue.enqueue(flow, number) for number in range(20)]
        handles += [DBOS.start_workflow(flow_async, number) for number in range(20, 40)]
        time.sleep(0.5)
        caplog.clear()
        if how == signal.SIGKILL:
            own_cluster.kill()
        else:
            own_cluster.stop(how)
        # Longer than the lease; and a call made meanwhile just waits.
        late: list[Any] = []
        caller = threading.Thread(target=lambda: late.append(queue.enqueue(flow, 99).get_result()))
        caller.start()
        time.sleep(3)
        own_cluster.start()
        assert [handle.get_result() for handle in handles] == list(range(40))
        caller.join(60)
        assert late == [99]
        assert set(steps.values()) == {1}
        assert executor("test").identity == me, "it was taken for dead"
        lines = [record.getMessage() for record in caplog.records]
        assert sum(LOST in line for line in lines) == 1, lines
        assert sum(FOUND in line for line in lines) == 1, lines
        assert capfd.readouterr().out == ""
    finally:
        DBOS.destroy(destroy_registry=True)


def test_destroy_does_not_wait_for_a_postgres_that_is_away(own_cluster: Cluster, own_database_url: str) -> None:
    DBOS.destroy(destroy_registry=True)
    DBOS(config={"name": "test-app", "system_database_url": own_database_url})

    @DBOS.workflow()
    def flow() -> str:
        DBOS.sleep(1)
        return "done"

    DBOS.launch()
    with SetWorkflowID("one"):
        DBOS.start_workflow(flow)
    time.sleep(0.2)
    own_cluster.stop()
    time.sleep(0.5)
    began = time.monotonic()
    DBOS.destroy()
    assert time.monotonic() - began < 10
    own_cluster.start()
    DBOS(config={"name": "test-app", "system_database_url": own_database_url})
    DBOS.launch()
    try:
        # Not after a lease, nor after the grace that follows an outage: the process knows what it ran before.
        began = time.monotonic()
        assert DBOS.retrieve_workflow("one").get_result() == "done"
        assert time.monotonic() - began < 8
    finally:
        DBOS.destroy(destroy_registry=True)


def test_a_killed_keeper_of_the_embedded_server_is_replaced(processes: Processes, tmp_path: Path) -> None:
    program = processes.start(
        """
        import sys, threading, time
        from pyengine import DBOS, Queue
        DBOS(config={"name": "test-app"})
        queue = Queue("work")

        @DBOS.step()
        def step(number):
            sys.stdout.write(f"step {number}\\n")
            time.sleep(0.05)
            return number

        @DBOS.workflow()
        def flow(number):
            step(number)
            DBOS.sleep(2)
            return number

        DBOS.launch()
        handles = [queue.enqueue(flow, number) for number in range(10)]
        print("enqueued", flush=True)
        print("results", sorted(handle.get_result() for handle in handles), flush=True)
        """
    )
    program.wait_for_line("^enqueued")
    program.wait_for_line("^step", times=10)
    pids = [int(pid) for pid in _keepers_of(tmp_path)]
    assert pids, "no keeper found"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(is_running(pid) for pid in pids))
    assert program.wait(60) == 0, program.report()
    assert f"results {list(range(10))}" in program.stdout
    assert Counter(line for line in program.stdout if line.startswith("step")).most_common(1)[0][1] == 1


def _keepers_of(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().decode(errors="replace")
            if "keeper" in command and str(folder) in command:
                found.append(process.name)
    return found


def test_an_idle_executor_is_quiet(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statements: Counter[str] = Counter()
    call = database.call

    def counting(connection: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        statements[function.name] += 1
        return call(connection, function, *arguments, **options)

    monkeypatch.setattr(database, "call", counting)
    for name in ("one", "two", "three"):
        Queue(name, concurrency=2)

    @DBOS.workflow()
    def flow() -> None:
        return None

    launch()
    for _ in range(20):
        DBOS.start_workflow(flow).get_result()
    time.sleep(2)
    statements.clear()
    time.sleep(6)
    per_second = statements.total() / 6
    with capsys.disabled():
        print(f"\n  an idle executor: {per_second:.2f} statements/s: {dict(statements)}")
    assert per_second <= 2.5


def test_a_thousand_sleeping_workflows_cost_few_threads(launch: Launch, facts: Facts) -> None:
    launch()
    queue = Queue("sleepers")
    count = 1000

    @DBOS.workflow()
    async def sleeper(number: int) -> int:
        await DBOS.sleep_async(5)
        return number

    async def fill() -> list[Any]:
        return [await queue.enqueue_async(sleeper, number) for number in range(count)]

    handles = asyncio.run(fill())
    most = 0
    until = time.monotonic() + 60
    asleep = 0
    while asleep < count and time.monotonic() < until:
        asleep = facts.one("select count(*) from pyengine.checkpoints where name = 'DBOS.sleep'")
        most = max(most, threading.active_count())
        time.sleep(0.05)
    assert asleep == count

    async def collect() -> list[int]:
        return list(await asyncio.gather(*(handle.get_result() for handle in handles)))

    assert asyncio.run(collect()) == list(range(count))
    assert max(most, threading.active_count()) <= 30
