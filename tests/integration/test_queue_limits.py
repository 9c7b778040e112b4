"""What limits a queue: concurrency of all, of a process, of a partition; rates; threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from plugins.fleet import Facts, Fleet, said
from plugins.gate import Gate
from pyengine import DBOS, Queue, SetEnqueueOptions

Launch = Callable[..., type[DBOS]]


def test_worker_concurrency_counts_in_this_process(dbos: type[DBOS], gate: Gate) -> None:
    queue = Queue("narrow", worker_concurrency=3)

    @DBOS.workflow()
    def flow(number: int) -> int:
        gate.pass_through(number)
        return number

    handles = [queue.enqueue(flow, number) for number in range(12)]
    gate.wait_for(3)
    time.sleep(0.3)
    assert gate.most == 3
    gate.open()
    assert [handle.get_result() for handle in handles] == list(range(12))
    assert gate.most == 3


FLEET_OF_TWO = """
    queue = Queue("shared", concurrency=3, worker_concurrency=2)

    @DBOS.workflow(name="flow")
    def flow(number):
        say("began", number)
        time.sleep(0.1)
        say("ended", number)
        return number
"""


def test_concurrency_holds_over_two_processes(fleet: Fleet, facts: Facts, launch: Launch) -> None:
    fleet.define(FLEET_OF_TWO)
    programs = [fleet.start(), fleet.start()]
    launch(application_version="v0")
    queue = Queue("shared", concurrency=3, worker_concurrency=2)

    @DBOS.workflow(name="flow")
    def flow(number: int) -> int:
        raise AssertionError("another version's work")

    with SetEnqueueOptions(app_version="v1"):
        handles = [queue.enqueue(flow, number) for number in range(40)]
    most = 0
    while facts.unfinished():
        most = max(most, facts.one("select count(*) from pyengine.in_flight where status = 'PENDING'"))
        time.sleep(0.01)
    assert [handle.get_result() for handle in handles] == list(range(40))
    assert most <= 3
    inside = peak = 0
    for line in sorted((line for program in programs for line in program.lines), key=lambda line: line.at):
        inside += line.text.startswith("began") - line.text.startswith("ended")
        peak = max(peak, inside)
    # A line is read a moment after it was printed, so the neighbour's next may seem to overlap.
    assert peak <= 4
    assert all(said(program, "^began") for program in programs), "one process did all the work"


def test_limiter_is_an_exact_rolling_window(dbos: type[DBOS], facts: Facts) -> None:
    limit, period = 5, 1.0
    queue = Queue("slow", limiter={"limit": limit, "period": period})

    @DBOS.workflow()
    def flow(number: int) -> int:
        return number

    handles = [queue.enqueue(flow, number) for number in range(18)]
    assert [handle.get_result() for handle in handles] == list(range(18))
    started = facts.all("select extract(epoch from claimed_at)::float8 from pyengine.outcomes order by claimed_at")
    gaps = [later - earlier for earlier, later in zip(started, started[limit:], strict=False)]
    assert min(gaps) >= period, f"{limit + 1} starts within {min(gaps)} s"


def test_a_rate_limited_queue_uses_its_whole_rate(dbos: type[DBOS], facts: Facts) -> None:
    queue = Queue("steady", limiter={"limit": 10, "period": 0.5}, polling_interval_sec=0.1)

    @DBOS.workflow()
    def flow() -> None:
        return None

    for handle in [queue.enqueue(flow) for _ in range(40)]:
        handle.get_result()
    took = facts.one("select extract(epoch from max(claimed_at) - min(claimed_at))::float8 from pyengine.outcomes")
    assert 1.5 <= took < 5


def test_each_partition_has_limits_of_its_own(dbos: type[DBOS]) -> None:
    queue = Queue("parts", partition_queue=True, concurrency=1)
    lock, inside, most = threading.Lock(), Counter[str](), Counter[str]()
    together = threading.Barrier(3)

    @DBOS.workflow()
    def flow(part: str, number: int) -> int:
        with lock:
            inside[part] += 1
            most[part] = max(most[part], inside[part])
        if number == 0:
            together.wait(30)  # the first of every partition: they run side by side
        with lock:
            inside[part] -= 1
        return number

    handles = []
    for number in range(8):
        for part in "abc":
            with SetEnqueueOptions(queue_partition_key=part):
                handles.append((number, queue.enqueue(flow, part, number)))
    assert [handle.get_result() for _, handle in handles] == [number for number, _ in handles]
    assert dict(most) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("is_async", [False, True])
def test_many_workflows_are_drained_by_few_threads(dbos: type[DBOS], is_async: bool) -> None:
    queue = Queue("many")
    count, ran, most = 2000 if not is_async else 500, Counter[int](), 0

    @DBOS.workflow()
    def sync_flow(number: int) -> int:
        ran[number] += 1
        return number

    @DBOS.workflow()
    async def async_flow(number: int) -> int:
        ran[number] += 1
        return number

    flow: Any = async_flow if is_async else sync_flow
    handles = [queue.enqueue(flow, number) for number in range(count)]
    for number, handle in enumerate(handles):
        assert handle.get_result() == number
        most = max(most, threading.active_count())
    assert ran == Counter(range(count))
    assert most <= (30 if is_async else 300), f"{most} threads"


def test_max_executor_threads_is_kept(launch: Launch, gate: Gate, facts: Facts) -> None:
    launch(max_executor_threads=5)
    queue = Queue("few")

    @DBOS.workflow()
    def flow(number: int) -> int:
        gate.pass_through(number)
        return number

    handles = [queue.enqueue(flow, number) for number in range(20)]
    gate.wait_for(5)
    time.sleep(0.5)
    assert gate.most == 5
    # What it cannot run it leaves to others.
    assert facts.one("select count(*) from pyengine.in_flight where status = 'PENDING'") == 5
    gate.open()
    assert [handle.get_result() for handle in handles] == list(range(20))


def test_a_full_queue_does_not_keep_others_waiting(dbos: type[DBOS], gate: Gate) -> None:
    full, other = Queue("a full one"), Queue("z other")

    @DBOS.workflow()
    def slow(number: int) -> None:
        gate.pass_through(number)

    @DBOS.workflow()
    def quick() -> str:
        return "run"

    handles = [full.enqueue(slow, number) for number in range(300)]
    gate.wait_for(256)
    waiting = other.enqueue(quick)
    gate.open()
    assert waiting.get_result() == "run"
    for handle in handles:
        handle.get_result()
