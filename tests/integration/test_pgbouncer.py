"""Everything through a real PgBouncer in transaction mode, where no session is anybody's own."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plugins.database import with_database
from plugins.fleet import Facts, Fleet, said
from plugins.pgbouncer import Pooler, pooler, spread
from plugins.processes import Processes
from pyengine import DBOS, Queue, SetEnqueueOptions, SetWorkflowID, SetWorkflowTimeout
from pyengine import errors as error
from pyengine.api._state import executor
from pyengine.db import greeting

Launch = Callable[..., type[DBOS]]


@pytest.fixture
def launch_pooled(launch: Launch, pooled_url: str) -> Launch:
    return lambda **config: launch(system_database_url=pooled_url, **config)


@pytest.fixture
def members(processes: Processes, pooled_url: str) -> Fleet:
    """Programs whose database is behind the pooler."""
    return Fleet(processes, pooled_url)


@pytest.fixture(autouse=True)
def _nothing_left_in_sessions(pooled_url: str) -> Iterator[None]:
    """A session lock, a prepared statement or a setting would be left behind for whoever gets the session next."""
    yield
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as client:
        for _ in range(20):
            left = client.execute(
                """
                select (select count(*) from pg_prepared_statements),
                  (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
                  (select array_agg(name) from pg_settings where source = 'session' and name not in
                    ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')),
                  (select count(*) from pg_listening_channels())
                """
            ).fetchone()
            assert left == (0, 0, None, 0)


def test_a_pooler_is_noticed_and_a_direct_connection_is_none(pooled_url: str, database_url: str) -> None:
    with greeting.connect(pooled_url, "pyengine") as pooled, greeting.connect(database_url, "pyengine") as direct:
        assert (pooled.is_pooled, direct.is_pooled) == (True, False)
        assert pooled.server_identity == direct.server_identity
        assert pooled.prepare_threshold is None
    with greeting.connect(database_url, "pyengine", is_pooled=True) as told:
        assert told.is_pooled
        assert told.prepare_threshold is None
    with greeting.connect(pooled_url, "pyengine", is_pooled=False) as denied:
        assert not denied.is_pooled


def test_workflows_queues_limits_and_messages_of_errors(
    launch_pooled: Launch, facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    queue, limited = Queue("work"), Queue("limited", concurrency=3)
    rated = Queue("rated", limiter={"limit": 5, "period": 1})
    inside, most, lock = 0, 0, threading.Lock()
    steps: Counter[str] = Counter()

    @DBOS.step()
    def step(name: str) -> str:
        nonlocal inside, most
        with lock:
            inside, most = inside + 1, max(most, inside + 1)
            steps[name] += 1
        time.sleep(0.01)
        with lock:
            inside -= 1
        return name

    @DBOS.workflow()
    def child(number: int) -> int:
        step(f"child {number}")
        return number

    @DBOS.workflow()
    def flow(number: int) -> int:
        handle = limited.enqueue(child, number)
        DBOS.sleep(0.05)
        return handle.get_result()

    @DBOS.workflow()
    async def flow_async(number: int) -> int:
        await DBOS.sleep_async(0.05)
        return number

    @DBOS.workflow()
    def failing() -> None:
        raise ValueError("as it should")

    launch_pooled()
    handles: list[Any] = [queue.enqueue(flow, number) for number in range(30)]
    handles += [queue.enqueue(flow_async, 100 + number) for number in range(30)]
    handles += [rated.enqueue(child, 200 + number) for number in range(8)]
    assert [handle.get_result() for handle in handles] == [*range(30), *range(100, 130), *range(200, 208)]
    with pytest.raises(ValueError, match="as it should"):
        failing()
    assert set(steps.values()) == {1}
    assert facts.one("select count(*) from pyengine.outcomes") == 30 * 2 + 30 + 8 + 1
    assert facts.one("select count(*) from pyengine.executors where liveness_pid is not null") == 0
    with SetEnqueueOptions(deduplication_id="once"):
        first = queue.enqueue(flow, 1)
        with pytest.raises(error.DBOSQueueDeduplicatedError):
            queue.enqueue(flow, 2)
    assert first.get_result() == 1
    assert any("through a transaction pooler" in record.getMessage() for record in caplog.records)


def test_cancels_timeouts_and_schedules(launch_pooled: Launch, facts: Facts) -> None:
    queue = Queue("work")
    fired = threading.Event()

    @DBOS.scheduled("* * * * * *")
    @DBOS.workflow()
    def every_second(scheduled: Any, actual: Any) -> None:
        fired.set()

    @DBOS.workflow()
    def endless() -> None:
        while True:
            DBOS.sleep(0.05)

    launch_pooled()
    with SetWorkflowID("cancelled"):
        cancelled = queue.enqueue(endless)
    facts.wait_for("cancelled", "PENDING")
    DBOS.cancel_workflow("cancelled")
    with pytest.raises(error.DBOSAwaitedWorkflowCancelledError):
        cancelled.get_result()
    with SetWorkflowTimeout(0.3):
        late = DBOS.start_workflow(endless)
    with pytest.raises(error.DBOSAwaitedWorkflowCancelledError):
        late.get_result()
    assert fired.wait(30)


FLOWS = """
queue = Queue("work")

@DBOS.step()
def step(number):
    say("step", number, "by", os.getpid())

@DBOS.step()
def wait():
    while not os.path.exists("go"):
        time.sleep(0.05)

@DBOS.workflow()
def flow():
    step(1)
    wait()
    step(2)
"""
START = """
with SetWorkflowID("one"):
    queue.enqueue(flow)
"""


def test_a_killed_program_is_taken_over(members: Fleet, facts: Facts) -> None:
    members.define(FLOWS)
    first = members.start(ttl=3, after_launch=START)
    facts.wait("select exists (select from pyengine.checkpoints where step_id = 1)")
    first.kill()
    second = members.start(ttl=3)
    (members.folder / "go").touch()
    second.wait_for_line(r"^step 2", timeout_seconds=60)
    facts.wait_for("one")
    assert said(second, "^step 1") == [], "a step with a checkpoint was run again"


def test_a_frozen_program_loses_its_work_by_its_lease_alone(members: Fleet, facts: Facts) -> None:
    members.define(FLOWS)
    first = members.start(ttl=2, after_launch=START)
    facts.wait("select exists (select from pyengine.checkpoints where step_id = 1)")
    first.signal(signal.SIGSTOP)
    second = members.start(ttl=2)
    facts.wait("select exists (select from pyengine.executors where dead_reason = 'lease_expired')")
    facts.wait("select executor_id = (select max(executor_id) from pyengine.executors) from pyengine.in_flight")
    first.signal(signal.SIGCONT)
    first.wait_for_line("Registered anew", timeout_seconds=60)
    (members.folder / "go").touch()
    facts.wait_for("one")
    assert len(said(first, "^step 2")) + len(said(second, "^step 2")) == 1
    assert second.pid in {int(found[1]) for found in said(second, r"^step 2 by (\d+)")}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_program_that_ends_in_good_order_hands_back(members: Fleet, facts: Facts, how: int) -> None:
    members.define(FLOWS)
    ending = "" if how == signal.SIGINT else "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
    first = members.start(after_launch=ending + START)
    facts.wait("select exists (select from pyengine.checkpoints where step_id = 1)")
    first.signal(how)
    first.wait(30)
    facts.wait("select status = 'ENQUEUED' and crashes = 0 from pyengine.in_flight", timeout_seconds=10)
    second = members.start()
    (members.folder / "go").touch()
    second.wait_for_line(r"^step 2")
    facts.wait_for("one")


def test_a_pooler_that_goes_away_and_comes_back_is_an_outage(
    server_url: str, database_url: str, launch: Launch, facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    steps: Counter[int] = Counter()
    with pooler(server_url) as own:
        url = own.url(database_url)
        spread(url)

        @DBOS.step()
        def step(number: int) -> None:
            steps[number] += 1

        @DBOS.workflow()
        def flow(number: int) -> int:
            step(number)
            DBOS.sleep(0.5)
            step(1000 + number)
            return number

        launch(system_database_url=url)
        me = executor("test").identity
        handles = [DBOS.start_workflow(flow, number) for number in range(20)]
        facts.wait("select count(*) = 20 from pyengine.checkpoints where name = 'DBOS.sleep'")
        own.stop()
        own.start()
        assert [handle.get_result() for handle in handles] == list(range(20))
        assert set(steps.values()) == {1}
        assert executor("test").identity == me
        DBOS.destroy(destroy_registry=True)


def test_the_command_line_and_the_installer(
    processes: Processes, pgbouncer: Pooler, pooled_url: str, empty_database_url: str
) -> None:
    """A missing database is made, the schema installed, looked at, and removed again."""
    name = f"pyengine_test_pooled_{secrets.token_hex(4)}"
    missing = with_database(empty_database_url, name)
    url = pgbouncer.url(missing)

    def run(*words: str) -> str:
        program = processes.module("pyengine", *words, "--sys-db-url", url)
        assert program.wait(60) == 0, program.report()
        return program.report()

    try:
        run("migrate")
        assert "is current" in run("migrate", "--check")
        run("doctor")
        run("workflow", "list")
        run("reset", "--yes")
    finally:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(f"drop database if exists {name} with (force)".encode())
