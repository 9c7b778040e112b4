"""Many workflows of a process at the same time, while connections are killed, rows are blocked or cannot be stored."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from plugins.fleet import Facts
from plugins.sessions import wait_until
from pyengine import DBOS, DBOSContextSetAuth, Queue, SetEnqueueOptions, SetWorkflowID

NewSession = Callable[..., psycopg.Connection[Any]]
THREADS, COROUTINES, STEPS, KILLS = 64, 500, 3, 15


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        yield pool


class Calls:
    """How often each step was run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()

    def add(self, what: str) -> str:
        with self._lock:
            self.counts[what] += 1
        return what


def killed_backends(connection: psycopg.Connection[Any], chance: random.Random) -> int:
    """Kill one of the engine's connections; 1 if there was one."""
    found = connection.execute(
        "select pid from pg_stat_activity where datname = current_database() and application_name = 'pyengine'"
    ).fetchall()
    if not found:
        return 0
    connection.execute("select pg_terminate_backend(%s)", chance.choice(found))
    return 1


def test_each_step_is_recorded_once_while_connections_are_killed(
    dbos: type[DBOS], session_factory: NewSession, threads: ThreadPoolExecutor, facts: Facts
) -> None:
    calls = Calls()

    @DBOS.step(name="step")
    def step(what: str) -> str:
        return calls.add(what)

    @DBOS.step(name="async step")
    async def async_step(what: str) -> str:
        return calls.add(what)

    @DBOS.workflow(name="flow")
    def flow(name: str) -> list[str]:
        return [step(f"{name}.{number}") for number in range(STEPS)]

    @DBOS.workflow(name="async flow")
    async def async_flow(name: str) -> list[str]:
        return [await async_step(f"{name}.{number}") for number in range(STEPS)]

    def by_thread(name: str) -> list[str]:
        with SetWorkflowID(name):
            return flow(name)

    async def by_coroutine(name: str) -> list[str]:
        with SetWorkflowID(name):
            return await async_flow(name)

    async def all_coroutines() -> list[list[str]]:
        return await asyncio.gather(*[by_coroutine(f"c{number}") for number in range(COROUTINES)])

    killer, chance, killed = session_factory(application_name="killer"), random.Random(1), 0
    loop = threading.Thread(target=lambda: coroutines.set_result(asyncio.run(all_coroutines())))
    coroutines: Future[list[list[str]]] = Future()
    loop.start()
    waiting = {f"t{number}": threads.submit(by_thread, f"t{number}") for number in range(3 * THREADS)}
    while loop.is_alive() or not all(each.done() for each in waiting.values()):
        # So many in so long: the server is not to be kept from ever answering, however slow the machine is.
        if killed < KILLS:
            killed += killed_backends(killer, chance)
        loop.join(0.2)

    def expected(name: str) -> list[str]:
        return [f"{name}.{number}" for number in range(STEPS)]

    assert {name: each.result(0) for name, each in waiting.items()} == {name: expected(name) for name in waiting}
    assert coroutines.result(60) == [expected(f"c{number}") for number in range(COROUTINES)]
    assert killed >= 1
    flows = len(waiting) + COROUTINES
    # Nobody was declared dead: a killed connection is no reason to run a step again.
    assert len(calls.counts) == flows * STEPS
    assert set(calls.counts.values()) == {1}
    assert facts.one("select count(*) from pyengine.checkpoints") == flows * STEPS
    assert facts.one("select count(*) from pyengine.outcomes where status = 'SUCCESS'") == flows


# More than a batch may carry goes alone.
@pytest.mark.parametrize("size", [1, 1_100_000], ids=["batched", "alone"])
def test_rows_blocked_by_an_open_transaction_stall_nobody(
    dbos: type[DBOS],
    session_factory: NewSession,
    threads: ThreadPoolExecutor,
    facts: Facts,
    size: int,
) -> None:
    """More of them than there are connections."""
    queue, user = Queue("q"), session_factory(autocommit=False)

    @DBOS.workflow(name="flow")
    def flow(name: str, ballast: str = "") -> str:
        return name

    blocked = [f"blocked{number}" for number in range(10)]
    for name in blocked:
        user.execute(
            "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
            " values (%s, 'flow', 'test-app', 1, now())",
            (name,),
        )

    def start(name: str) -> str:
        with SetWorkflowID(name):
            return flow(name, "x" * size if name in blocked else "")

    waiting = [threads.submit(start, name) for name in blocked]
    wait_until(lambda: facts.one("select count(*) from pg_locks where not granted") > 0, what="a row that is blocked")
    others = [threads.submit(start, f"free{number}") for number in range(200)]
    assert [each.result(60) for each in others] == [f"free{number}" for number in range(200)]
    handles = queue.enqueue_many(flow, [("queued",)] * 20)
    assert [each.get_result() for each in handles] == ["queued"] * 20
    assert not any(each.done() for each in waiting)

    user.rollback()
    assert [each.result(60) for each in waiting] == blocked


def test_a_bad_row_fails_alone(dbos: type[DBOS], threads: ThreadPoolExecutor) -> None:
    """Postgres stores no NUL in a text."""
    queue, together = Queue("q"), threading.Barrier(41)

    @DBOS.workflow(name="flow")
    def flow(name: str) -> str:
        return name

    def enqueue(number: int) -> Any:
        together.wait()
        user = "bad\0" if number % 10 == 0 else "good"
        with DBOSContextSetAuth(user, None):
            return queue.enqueue(flow, f"{number}").get_result()

    waiting = [threads.submit(enqueue, number) for number in range(40)]
    together.wait()
    for number, each in enumerate(waiting):
        if number % 10:
            assert each.result(60) == f"{number}"
        else:
            assert isinstance(each.exception(60), psycopg.DataError)


def test_large_and_small_payloads_at_the_same_time(dbos: type[DBOS], threads: ThreadPoolExecutor) -> None:
    @DBOS.step()
    def step(size: int) -> str:
        return "x" * size

    @DBOS.workflow()
    def flow(size: int) -> int:
        return len(step(size))

    sizes = [10, 400_000, 3_000_000, 1] * 12
    assert list(threads.map(flow, sizes)) == sizes


def test_batched_keys_have_one_holder(dbos: type[DBOS], threads: ThreadPoolExecutor, facts: Facts) -> None:
    queue = Queue("q")

    @DBOS.workflow()
    def flow(number: int) -> int:
        return number

    def enqueue(number: int) -> str:
        options = {"deduplication_id": f"k{number % 5}", "duplication_policy": "return-existing", "delay_seconds": 3600}
        with SetEnqueueOptions(**options):  # type: ignore[arg-type]
            return queue.enqueue(flow, number).workflow_id

    found = list(threads.map(enqueue, range(200)))
    assert len(set(found)) == 5
    assert all(found[number] == found[number % 5] for number in range(200))
    assert facts.one("select count(*) from pyengine.workflows") == 5
    for each in set(found):
        DBOS.cancel_workflow(each)
