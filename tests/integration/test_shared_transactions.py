"""What many workflows do at once is written in few transactions, each row as if it were alone."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plugins.clock import Clock
from plugins.fleet import Facts
from plugins.sessions import wait_until
from pyengine import DBOS, DBOSContextSetAuth, Queue, SetWorkflowAttributes
from pyengine.db.batches import ATTEMPTS, ENQUEUES, FINISHES, SLEEPS, STARTS, Batch
from pyengine.db.database import Database
from pyengine.db.function import Function
from pyengine.runtime.committer import MAX_ROWS

Launch = Callable[..., type[DBOS]]


class Crowd:
    """`expect(batch, count)`: from now on no row of this kind is written before so many are asked for, however slow
    they come.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._expected: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def expect(self, batch: Batch[Any], count: int) -> None:
        kind = batch.one.name
        self._expected[kind] = self._expected[batch.many.name] = (kind, self._asked[kind] + count)

    def ask(self, batch: Batch[Any]) -> None:
        with self._lock:
            self._asked[batch.one.name] += 1

    def await_all(self, function: Function[Any]) -> None:
        kind, count = self._expected.get(function.name, ("", 0))
        wait_until(lambda: self._asked[kind] >= count, what=f"{count} of {kind}", timeout_seconds=60)
        self.calls[function.name] += 1


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    made = Crowd()
    key, attempt = Batch.key, Database.attempt

    def counting_key(self: Batch[Any], arguments: dict[str, Any]) -> Any:
        made.ask(self)
        return key(self, arguments)

    def waiting_attempt(self: Database, function: Function[Any], arguments: Any, *, eagerly: bool = False) -> Any:
        made.await_all(function)
        return attempt(self, function, arguments, eagerly=eagerly)

    monkeypatch.setattr(Batch, "key", counting_key)
    monkeypatch.setattr(Database, "attempt", waiting_attempt)
    return made


class Gate:
    """Opens when so many coroutines stand before it: what they did before is done for all of them."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._open = asyncio.Event()

    async def pass_(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._open.set()
        await self._open.wait()


def gathered(run: Callable[[int], Any], count: int) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*[run(number) for number in range(count)])

    return asyncio.run(all_of_them())


def transactions(facts: Facts, table: str, condition: str = "true") -> int:
    """How many wrote what is in the table now."""
    found: int = facts.one(f"select count(distinct xmin::text) from pyengine.{table} where {condition}")
    return found


def few(count: int) -> int:
    """Full batches; before them the first one that came, after them one that came while all were counted."""
    return 2 + -(-count // MAX_ROWS)


def test_coroutines_that_sleep_and_wake_at_once(dbos: type[DBOS], facts: Facts, crowd: Crowd) -> None:
    count = 2000
    started, woken = Gate(count), Gate(count)
    crowd.expect(SLEEPS, count)
    crowd.expect(FINISHES, count)

    @DBOS.workflow()
    async def flow(number: int) -> int:
        await started.pass_()
        await DBOS.sleep_async(0.1 + number % 7 / 100)
        await woken.pass_()
        return number

    assert gathered(flow, count) == list(range(count))
    slept = "select round(extract(epoch from wake_at - started_at) * 100)::int - 10, count(*) from pyengine.checkpoints"
    assert facts.all(f"{slept} group by 1 order by 1") == [(rest, len(range(rest, count, 7))) for rest in range(7)]
    assert transactions(facts, "checkpoints") <= few(count)
    assert transactions(facts, "outcomes") <= few(count)


def test_threads_that_sleep_at_once(dbos: type[DBOS], facts: Facts, crowd: Crowd) -> None:
    count = 64
    started = threading.Barrier(count)
    crowd.expect(SLEEPS, count)

    @DBOS.workflow()
    def flow(number: int) -> int:
        started.wait()
        DBOS.sleep(0.01)
        return number

    with ThreadPoolExecutor(max_workers=count) as threads:
        assert list(threads.map(flow, range(count))) == list(range(count))
    assert transactions(facts, "checkpoints") <= few(count)


def test_sleepers_that_are_taken_up_again(launch: Launch, facts: Facts, clock: Clock, crowd: Crowd) -> None:
    """By an executor that knows nothing of them: each keeps its instant, and few are asked for one by one."""
    count, asleep = 200, Counter[int]()

    @DBOS.workflow()
    async def flow(number: int) -> int:
        asleep[number] += 1
        await DBOS.sleep_async(3600)
        return number

    launch()
    ids = [DBOS.start_workflow(flow, number).workflow_id for number in range(count)]
    facts.wait(f"select count(*) = {count} from pyengine.checkpoints")
    before = facts.all("select workflow_id, wake_at from pyengine.checkpoints order by 1")
    DBOS.destroy()
    clock.advance(3601)
    crowd.calls.clear()
    crowd.expect(SLEEPS, count)
    launch()

    assert [DBOS.retrieve_workflow(each).get_result() for each in ids] == list(range(count))
    assert set(asleep.values()) == {2}
    assert facts.all("select workflow_id, wake_at from pyengine.checkpoints order by 1") == before
    assert crowd.calls["record_sleep"] + crowd.calls["record_sleeps"] <= few(count)


def test_a_storm_of_failures_and_each_is_counted(dbos: type[DBOS], facts: Facts, crowd: Crowd) -> None:
    count, attempts = 500, 3
    started, calls = Gate(count), Counter[int]()
    crowd.expect(ATTEMPTS, count)

    @DBOS.step(retries_allowed=True, max_attempts=attempts, interval_seconds=0.01)
    async def step(number: int) -> int:
        calls[number] += 1
        if calls[number] < attempts:
            raise ConnectionError("what all of them need is down")
        return number

    @DBOS.workflow()
    async def flow(number: int) -> int:
        await started.pass_()
        return await step(number)

    assert gathered(flow, count) == list(range(count))
    assert set(calls.values()) == {attempts}
    failed = "select attempt, count(*) from pyengine.step_attempts group by attempt order by attempt"
    assert facts.all(failed) == [(attempt, count) for attempt in range(1, attempts)]
    assert transactions(facts, "step_attempts", "attempt = 1") <= few(count)


@pytest.mark.parametrize("batch", [STARTS, ENQUEUES], ids=["starts", "enqueues"])
def test_workflows_with_attributes_and_roles(dbos: type[DBOS], facts: Facts, crowd: Crowd, batch: Batch[Any]) -> None:
    """Each with its own, or with none: they come out as they went in."""
    count, queue = 400, Queue("q")
    crowd.expect(batch, count)

    @DBOS.workflow()
    async def flow(number: int) -> list[Any]:
        return [number, DBOS.authenticated_user, DBOS.authenticated_roles]

    def roles(number: int) -> list[str] | None:
        return None if number % 4 == 0 else [f"role {number}", '"{,}\\'][: number % 4 - 1]

    def attributes(number: int) -> dict[str, Any] | None:
        return None if number % 5 == 0 else {"number": number, "text": "ü" * (number % 7)}

    async def ask(number: int) -> Any:
        with SetWorkflowAttributes(attributes(number)), DBOSContextSetAuth(f"user {number}", roles(number)):
            if batch is STARTS:
                return await flow(number)
            handle = await queue.enqueue_async(flow, number)
        return await handle.get_result()

    assert gathered(ask, count) == [[number, f"user {number}", roles(number)] for number in range(count)]
    header = "select authenticated_roles, attributes from pyengine.workflows"
    assert facts.all(f"{header} order by substr(authenticated_user, 6)::int") == [
        (roles(number), attributes(number)) for number in range(count)
    ]
    assert transactions(facts, "workflows") <= few(count)


def test_large_attributes_go_alone(dbos: type[DBOS], facts: Facts, crowd: Crowd) -> None:
    """They count for the size of a batch, as inputs do."""
    count, text = 12, "x" * 300_000
    crowd.expect(STARTS, count)

    @DBOS.workflow()
    async def flow(number: int) -> int:
        return number

    async def ask(number: int) -> int:
        with SetWorkflowAttributes({"text": text}):
            found: int = await flow(number)
            return found

    assert gathered(ask, count) == list(range(count))
    assert facts.one("select count(*) from pyengine.workflows where attributes ->> 'text' = %s", text) == count
    assert transactions(facts, "workflows") >= count // 3
