"""The link to Postgres breaks: in any phase of a call, for a moment or longer than a lease, or it falls silent."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plugins.fleet import Facts, Fleet, said
from plugins.links import Link
from plugins.processes import Processes
from plugins.sessions import wait_until
from pyengine import DBOS, Queue, SetWorkflowID
from pyengine.db import database

Launch = Callable[..., type[DBOS]]

# Each call that a workflow's life is made of. Where requests are batched, the name of the batch begins the same.
CALLS = (
    "register_executor", "put_queue", "tick", "housekeep", "start_workflow", "enqueue_workflow", "claim_workflows",
    "record_checkpoint", "record_sleep", "record_attempt", "finish_workflow", "read_outcomes",
)  # fmt: skip


@pytest.mark.parametrize("part", ["request", "reply"])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_whose_link_breaks_is_done_once(
    launch: Launch, own_link: Link, linked_url: str, facts: Facts, call: str, part: str
) -> None:
    queue = Queue("work")
    steps: Counter[str] = Counter()

    @DBOS.step(retries_allowed=True, interval_seconds=0.01)
    def step(name: str) -> str:
        steps[name] += 1
        if name == "flaky" and steps[name] == 1:
            raise ValueError("once")
        return name

    @DBOS.workflow()
    def child(number: int) -> int:
        step("child")
        return number

    @DBOS.workflow()
    def flow() -> int:
        step("one")
        step("flaky")
        DBOS.sleep(0.01)
        return queue.enqueue(child, 7).get_result()

    own_link.lose(f'"pyengine".{call}'.encode(), part)
    # Unprepared, a call names its function every time.
    launch(system_database_url=linked_url, transaction_pooler=True, lease_ttl_seconds=3)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(DBOS.retrieve_workflow("one", existing_workflow=False).get_result)
        # What runs in this process tells its outcome itself: read are those that do not, as this one until it starts.
        if call == "read_outcomes":
            wait_until(lambda: own_link.lost)
        with SetWorkflowID("one"):
            assert DBOS.start_workflow(flow).get_result() == 7
        assert waiting.result() == 7
    assert own_link.lost == [f'{part} of "pyengine".{call}']
    assert steps == {"one": 1, "flaky": 2, "child": 1}
    assert facts.all("select status from pyengine.outcomes") == ["SUCCESS", "SUCCESS"]
    assert facts.one("select count(*) from pyengine.workflows") == 2
    assert facts.one("select count(*) from pyengine.executors where dead_reason = 'lease_expired'") == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_link_that_breaks_all_the_time_loses_and_repeats_nothing(
    launch: Launch, own_link: Link, linked_url: str, facts: Facts, seed: int
) -> None:
    queue, limited = Queue("work"), Queue("limited", concurrency=4)
    steps: Counter[str] = Counter()
    lock = threading.Lock()

    @DBOS.step()
    def step(name: str) -> None:
        with lock:
            steps[name] += 1

    @DBOS.workflow()
    def child(number: int) -> int:
        step(f"child {number}")
        return number

    @DBOS.workflow()
    async def flow_async(number: int) -> int:
        await DBOS.sleep_async(0.01)
        return number

    @DBOS.workflow()
    def flow(number: int) -> int:
        step(f"flow {number}")
        return limited.enqueue(child, number).get_result() + child(1000 + number)

    launch(system_database_url=linked_url)
    own_link.harass(seed, 0.02)
    handles: list[Any] = [queue.enqueue(flow, number) for number in range(40)]
    handles += [queue.enqueue(flow_async, number) for number in range(40)]
    assert [handle.get_result() for handle in handles] == [1000 + 2 * n for n in range(40)] + list(range(40))
    own_link.mend()
    assert {"request", "reply"} <= set(own_link.lost)
    assert set(steps.values()) == {1}, "a step ran twice"
    assert facts.one("select count(*) from pyengine.outcomes") == 40 * 4
    assert facts.one("select count(*) from pyengine.executors where dead_at is not null") == 0


SLEEPER = """
@DBOS.step()
def wait():
    say("begun")
    while not os.path.exists("go"):
        time.sleep(0.05)

@DBOS.workflow()
def flow():
    wait()
    say("done")

def begin():
    with SetWorkflowID("one"):
        DBOS.start_workflow(flow)
"""


@pytest.mark.parametrize("how", ["cut", "stop"])
def test_live_executors_keep_their_work_through_an_outage_longer_than_their_lease(
    processes: Processes, own_link: Link, linked_url: str, facts: Facts, how: str
) -> None:
    """All links break, the server does not: nobody could renew, and who comes back first kills nobody."""
    fleet = Fleet(processes, linked_url)
    fleet.define(SLEEPER)
    programs = [fleet.start(ttl=2, after_launch="begin()"), fleet.start(ttl=2)]
    programs[0].wait_for_line("^begun")
    if how == "cut":
        own_link.cut(refuse=True)
    else:
        own_link.stop()
    # Looked at over a way of its own: nobody's lease is left.
    facts.wait("select bool_and(lease_expires_at < clock_timestamp() - interval '2 seconds') from pyengine.executors")
    own_link.mend()
    facts.wait("select bool_and(lease_expires_at > clock_timestamp()) from pyengine.executors")
    # Several rounds of housekeeping and a beat of everybody later nobody is dead.
    facts.wait("select bool_and(beat_at > %s) from pyengine.executors", facts.one("select clock_timestamp()"))
    assert facts.one("select count(*) from pyengine.executors where dead_at is not null") == 0
    (fleet.folder / "go").touch()
    facts.wait_for("one")
    assert [len(said(program, "^begun")) for program in programs] == [1, 0]


def test_a_host_in_a_black_hole_loses_its_work_and_comes_back_as_another(
    processes: Processes, own_link: Link, linked_url: str, database_url: str, facts: Facts
) -> None:
    there, here = Fleet(processes, linked_url), Fleet(processes, database_url)
    there.define(SLEEPER)
    here.define(SLEEPER)
    first = there.start(ttl=2, after_launch="begin()")
    first.wait_for_line("^begun")
    second = here.start(ttl=2)
    own_link.stop()
    # The server has not heard that the link is gone: four leases, while the liveness lock is held.
    second.wait_for_line("^begun", timeout_seconds=60)
    own_link.mend()
    first.wait_for_line("Registered anew", timeout_seconds=60)
    (there.folder / "go").touch()
    facts.wait_for("one")
    second.wait_for_line("^done")
    facts.wait("select count(*) = 2 from pyengine.executors where dead_at is null")
    assert said(first, "^done") == []


def test_ctrl_c_ends_a_program_that_waits_for_a_server_that_says_nothing(
    processes: Processes, own_link: Link, linked_url: str, facts: Facts
) -> None:
    fleet = Fleet(processes, linked_url)
    fleet.define(SLEEPER)
    program = fleet.start(
        after_launch="""
        begin()
        while not os.path.exists("asks"):
            time.sleep(0.05)
        say("asking")
        DBOS.start_workflow(flow)
        """,
        is_up=False,
    )
    program.wait_for_line("^begun")
    own_link.stop()
    (fleet.folder / "asks").touch()
    program.wait_for_line("^asking")
    began = time.monotonic()
    program.interrupt()
    program.wait(60)
    # Handing back is tried, and given up.
    assert time.monotonic() - began < 20
    own_link.mend()
    assert facts.status("one") == "PENDING"


def test_destroy_does_not_wait_for_a_server_that_says_nothing(
    launch: Launch, own_link: Link, linked_url: str, facts: Facts
) -> None:
    asked = threading.Event()
    broken_off: list[BaseException] = []

    @DBOS.workflow()
    def flow() -> None:
        return None

    def ask() -> None:
        asked.set()
        try:
            DBOS.start_workflow(flow)
        except BaseException as error:
            broken_off.append(error)

    launch(system_database_url=linked_url)
    DBOS.start_workflow(flow).get_result()
    own_link.stop()
    caller = threading.Thread(target=ask)
    caller.start()
    assert asked.wait(10)
    began = time.monotonic()
    DBOS.destroy()
    assert time.monotonic() - began < 20
    caller.join(30)
    assert [type(error).__name__ for error in broken_off] == ["ExecutorStopping"]


def test_who_lost_its_own_connection_looks_for_nobody_until_it_beats_again(
    launch: Launch, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have lost theirs too, and be only slower to come back."""
    looks: list[bool] = []
    call = database.call

    def noting(connection: Any, function: Any, schema: str, values: list[Any], **options: Any) -> Any:
        if function.name == "housekeep":
            looks.append(values[-1])
        return call(connection, function, schema, values, **options)

    monkeypatch.setattr(database, "call", noting)
    launch(lease_ttl_seconds=6)
    beat = facts.wait("select liveness_pid from pyengine.executors")
    wait_until(lambda: looks, what="a round")
    assert False not in looks
    facts.one("select pg_terminate_backend(%s)", beat)
    wait_until(lambda: False in looks, what="a round after the loss")
    facts.wait("select liveness_pid <> %s from pyengine.executors", beat)
    wait_until(lambda: looks[-1], what="a look for the dead", timeout_seconds=30)
    assert looks == sorted(looks[: looks.index(False)], reverse=True) + sorted(looks[looks.index(False) :])


def test_connections_are_few_and_said_at_the_start(
    launch: Launch, facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue("work")

    @DBOS.workflow()
    def flow(number: int) -> int:
        DBOS.sleep(0.01)
        return number

    caplog.set_level("INFO")
    launch(sys_db_pool_size=3)
    most, handles = 0, [queue.enqueue(flow, number) for number in range(200)]
    while facts.unfinished():
        most = max(
            most,
            facts.one(
                "select count(*) from pg_stat_activity where application_name = 'pyengine'"
                " and datname = current_database()"
            ),
        )
    assert [handle.get_result() for handle in handles] == list(range(200))
    assert 2 <= most <= 4
    assert any("Connections: at most 4 (3 for calls, 1 for the beat)" in line.getMessage() for line in caplog.records)
