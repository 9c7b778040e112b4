"""The server is replaced: by its standby, with and without its last commits, or by a backup."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, in_flight, outcome
from plugins.fleet import Facts, Fleet, said
from plugins.links import link
from plugins.outage import OUTAGE_DATABASE
from plugins.pgbouncer import pooler
from plugins.private_cluster import Cluster
from plugins.processes import Processes
from plugins.queueing import claim
from plugins.replication import Pair
from plugins.sessions import wait_until
from pyengine import DBOS, Queue, SetWorkflowID
from pyengine.api._state import executor

Connect = Callable[[str], psycopg.Connection[Any]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    opened: list[psycopg.Connection[Any]] = []

    def open_one(url: str) -> psycopg.Connection[Any]:
        opened.append(psycopg.connect(url, autocommit=True))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def launch_on() -> Iterator[Callable[[str], None]]:
    """`launch_on(url)`: a DBOS there, destroyed at the end."""

    def start(url: str) -> None:
        DBOS(config={"name": "test-app", "system_database_url": url, "lease_ttl_seconds": 3})
        DBOS.launch()

    DBOS.destroy(destroy_registry=True)
    yield start
    DBOS.destroy(destroy_registry=True)


# -- a standby takes over --------------------------------------------------------------------------


def test_with_a_synchronous_standby_nothing_acknowledged_is_lost(
    pair: Pair, launch_on: Callable[[str], None], connect: Connect
) -> None:
    pair.synchronous()
    queue = Queue("work")
    lock = threading.Lock()
    # What a step's caller has been told, and what was run again although.
    acknowledged: set[str] = set()
    repeated: list[str] = []
    some = threading.Event()

    @DBOS.step()
    def step(name: str) -> None:
        with lock:
            if name in acknowledged:
                repeated.append(name)

    @DBOS.workflow()
    def flow(number: int) -> int:
        for turn in range(4):
            name = f"{number}/{turn}"
            step(name)
            with lock:
                acknowledged.add(name)
                if len(acknowledged) > 40:
                    some.set()
            DBOS.sleep(0.05)
        return number

    launch_on(pair.url)
    me = executor("test").identity
    started: list[Any] = []
    handles: list[Any] = [queue.enqueue(flow, number) for number in range(40)]
    assert some.wait(60)
    caller = threading.Thread(target=lambda: started.extend(DBOS.start_workflow(flow, 100 + n) for n in range(20)))
    caller.start()
    pair.fail_over()
    caller.join(60)
    assert [handle.get_result() for handle in handles] == list(range(40))
    assert [handle.get_result() for handle in started] == list(range(100, 120))
    assert repeated == []
    facts = Facts(connect(Pair.url_of(pair.standby)))
    assert facts.one("select count(*) from pyengine.outcomes where status = 'SUCCESS'") == 60
    assert facts.one("select count(*) from pyengine.checkpoints where name = %s", step.__qualname__) == 240
    assert executor("test").identity != me
    assert facts.one("select dead_reason from pyengine.executors where executor_id = %s", me.executor_id) in (
        "handed_over", "server_changed",
    )  # fmt: skip
    assert facts.one("select sum(crashes) from pyengine.in_flight") is None


def test_what_the_standby_lacks_is_done_again_from_what_it_has(
    pair: Pair, launch_on: Callable[[str], None], connect: Connect
) -> None:
    """The last commits are lost, this process' registration among them; its id may be given out again."""
    queue = Queue("work")
    runs: Counter[str] = Counter()
    goes_on, in_third = threading.Event(), threading.Event()

    @DBOS.step()
    def step(name: str) -> int:
        runs[name] += 1
        return runs[name]

    @DBOS.step()
    def wait() -> None:
        in_third.set()
        goes_on.wait(60)

    @DBOS.workflow()
    def flow() -> list[int]:
        first = step("one")
        DBOS.sleep(0.01)
        second = step("two")
        wait()
        return [first, second, step("three")]

    @DBOS.workflow()
    def early() -> str:
        step("early")
        return "early"

    launch_on(pair.url)
    with SetWorkflowID("early"):
        assert DBOS.start_workflow(early).get_result() == "early"
    DBOS.destroy()
    pair.end_replication()
    launch_on(pair.url)
    me = executor("test").identity
    with SetWorkflowID("one"):
        handle = queue.enqueue(flow)
    assert in_third.wait(60)
    assert Facts(connect(Pair.url_of(pair.primary))).one("select count(*) from pyengine.checkpoints") >= 3
    pair.fail_over()
    facts = Facts(connect(Pair.url_of(pair.standby)))
    # The workflow was acknowledged by the primary alone, and is gone with it; nothing of it may appear here.
    facts.wait("select exists (select from pyengine.executors where nonce <> %s and dead_at is null)", me.nonce)
    goes_on.set()
    wait_until(lambda: executor("test").identity != me, what="a new registration", timeout_seconds=60)
    assert facts.status("one") is None
    assert facts.one("select count(*) from pyengine.checkpoints where workflow_id = 'one'") == 0
    with SetWorkflowID("one"):
        handle = queue.enqueue(flow)
    assert handle.get_result() == [2, 2, 1]
    assert DBOS.retrieve_workflow("early").get_result() == "early"
    assert runs == {"one": 2, "two": 2, "three": 1, "early": 1}


def test_ids_that_are_given_out_again_give_no_rights(pair: Pair, connect: Connect) -> None:
    """The sequence of executor ids is behind on the promoted standby: two processes get the same id, from each server
    one.
    """
    on_primary, url = Pair.url_of(pair.primary), Pair.url_of(pair.standby)
    first = Executor(connect(on_primary), boot_id="first")
    first.start("kept", 11)
    pair.end_replication()
    # A sequence is written ahead: more are needed than it logs at once.
    lost = [Executor(first.connection, boot_id=f"lost {n}") for n in range(80)]
    for one in lost:
        one.start(f"lost/{one.id}", one.id)
    first.checkpoint("kept", 11, 1)
    pair.fail_over()
    there = connect(url)
    new = {one.id: one for one in (Executor(there, boot_id=f"new {n}") for n in range(80))}
    old, again = next((one, new[one.id]) for one in lost if one.id in new)
    assert old.nonce != again.nonce
    again.start("theirs", 22)
    old.connection = there
    calls: list[Callable[[], Any]] = [
        lambda: old.start("more", 33),
        lambda: old.checkpoint("theirs", 22, 1),
        lambda: old.checkpoint(f"lost/{old.id}", old.id, 1),
        lambda: old.sleep("theirs", 22, 1, 1.0),
        lambda: old.attempt("theirs", 22, 1, 0),
        lambda: old.finish("theirs", 22),
        old.beat,
        old.tick,
        old.hold_liveness,
        old.housekeep,
    ]
    for call in calls:
        with pytest.raises(psycopg.Error) as refused:
            call()
        assert refused.value.sqlstate == "WF001"
    old.retire()
    assert again.mark_dead(old) is False
    assert again.dead_reason is None
    # A token that both minted makes no difference either: what it named is not there.
    assert again.checkpoint("theirs", 22, 1)["verdict"] == "stored"
    assert again.finish("theirs", 22) == "ok"
    assert outcome(there, "theirs") is not None
    assert in_flight(there, f"lost/{old.id}") is None
    # Who registered before the failover, and is known here, is dead, and what it held goes on.
    again.housekeep()
    first.connection = there
    assert first.dead_reason == "server_changed"
    assert again.take_over(first) == (1, 0, False)
    assert claim(again, "_dbos_internal_queue", fence=44) == ["kept"]
    assert again.finish("kept", 44) == "ok"


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_the_standby_has_not_got_is_not_acknowledged(
    pair: Pair, launch_on: Callable[[str], None], connect: Connect, how: str
) -> None:
    """The wait for the standby is cancelled, or its session ended: the commit stands, on one server only."""
    done = threading.Event()

    @DBOS.workflow()
    def flow() -> str:
        return "done"

    launch_on(pair.url)
    pair.synchronous()
    pair.standby.stop()
    facts = Facts(connect(Pair.url_of(pair.primary)))

    def call() -> None:
        with SetWorkflowID("one"):
            DBOS.start_workflow(flow)
        done.set()

    caller = threading.Thread(target=call)
    caller.start()
    waiting = "select pid from pg_stat_activity where wait_event = 'SyncRep' and query like %s"
    first = facts.wait(waiting, "%start_workflow%")
    facts.one(f"select {how}(%s)", first)
    # Whatever was told to end is over, and its work is there for all to see; the caller has not been told.
    facts.wait("select exists (select from pyengine.workflows where workflow_id = 'one')")
    second = facts.wait(waiting, "%await_standby%")
    assert not done.is_set()
    if how == "pg_cancel_backend":
        facts.one("select pg_cancel_backend(%s)", second)
        facts.wait(
            "select exists (select from pg_stat_activity where wait_event = 'SyncRep' and query like %s)",
            "%await_standby%",
        )
        assert not done.is_set()
    pair.standby.start()
    assert done.wait(60)
    caller.join()
    assert DBOS.retrieve_workflow("one").get_result() == "done"


def test_a_failover_behind_a_pooler_is_seen_though_the_connections_stand(
    pair: Pair, launch_on: Callable[[str], None], connect: Connect
) -> None:
    """What the pooler's clients are connected to is the pooler. It turns to the new primary without telling them."""
    goes_on, has_waited = threading.Event(), threading.Event()
    runs: Counter[str] = Counter()

    @DBOS.step()
    def step(name: str) -> int:
        runs[name] += 1
        return runs[name]

    @DBOS.step()
    def wait() -> None:
        has_waited.set()
        goes_on.wait(60)

    @DBOS.workflow()
    def flow() -> list[int]:
        first = step("one")
        wait()
        return [first, step("two")]

    with link(pair.primary.url) as way, pooler(way.url(pair.primary.url)) as own:
        launch_on(own.url(pair.url))
        me = executor("test").identity
        with SetWorkflowID("one"):
            handle = DBOS.start_workflow(flow)
        assert has_waited.wait(60)
        facts = Facts(connect(Pair.url_of(pair.standby)))
        # The standby knows the workflow and its owner; both are as good as alive there.
        facts.wait("select exists (select from pyengine.checkpoints where name like %s)", "%step")
        way.turn_to(pair.standby.port)
        pair.fail_over()
        facts.wait("select exists (select from pyengine.executors where nonce <> %s and dead_at is null)", me.nonce)
        goes_on.set()
        assert handle.get_result() == [1, 1]
        assert runs == {"one": 1, "two": 1}
        assert facts.one("select count(*) from pyengine.outcomes") == 1
        DBOS.destroy(destroy_registry=True)


# -- a backup takes the server's place --------------------------------------------------------------

FLOWS = """
queue = Queue("work")

@DBOS.step()
def step(number):
    say("step", number)
    return number

@DBOS.step()
def wait():
    say("waiting")
    while not os.path.exists(os.environ["TEST_VERSION"]):
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


def test_a_restored_dump_goes_on_from_its_checkpoints(
    processes: Processes, own_cluster: Cluster, own_database_url: str, connect: Connect
) -> None:
    """The program that the dump knows lives, and is connected again: it registers anew like everybody."""
    fleet = Fleet(processes, own_database_url)
    fleet.define(FLOWS)
    first = fleet.start(version="go", ttl=60, after_launch=START)
    first.wait_for_line("^waiting")
    own_cluster.run("pg_dump", "-Fc", "-f", "dump", own_database_url)
    with psycopg.connect(own_cluster.url, autocommit=True) as maintenance:
        maintenance.execute(f"drop database {OUTAGE_DATABASE} with (force)".encode())
        maintenance.execute(f"create database {OUTAGE_DATABASE}".encode())
    own_cluster.run("pg_restore", "--single-transaction", "-d", own_database_url, "dump")
    facts = Facts(connect(own_database_url))
    # Not after a lease of a minute: at once.
    first.wait_for_line("Registered anew", timeout_seconds=30)
    first.wait_for_line("^waiting", times=2, timeout_seconds=30)
    assert facts.one("select dead_reason from pyengine.executors order by executor_id limit 1") in (
        "handed_over", "server_changed",
    )  # fmt: skip
    (fleet.folder / "go").touch()
    facts.wait_for("one")
    assert len(said(first, "^step 1")) == 1
    assert len(said(first, "^step 2")) == 1
    assert facts.one("select count(*) from pyengine.checkpoints where workflow_id = 'one'") == 3


def test_a_base_backup_goes_on_from_its_checkpoints(
    processes: Processes, own_cluster: Cluster, own_database_url: str, connect: Connect
) -> None:
    """Started without a promotion it is the same line of history: leases decide, after the grace that follows a
    restart. The program that the backup knows lives, and works on with the server it came from.
    """
    fleet = Fleet(processes, own_database_url)
    fleet.define(FLOWS)
    first = fleet.start(version="go", ttl=2, after_launch=START)
    first.wait_for_line("^waiting")
    backup = own_cluster.copy()
    try:
        backup.start()
        url = own_database_url.replace(str(own_cluster.port), str(backup.port))
        restored = Fleet(processes, url)
        restored.define(FLOWS)
        second = restored.start(version="go", ttl=2)
        second.wait_for_line("^waiting", timeout_seconds=60)
        facts = Facts(connect(url))
        assert facts.one("select dead_reason from pyengine.executors order by executor_id limit 1") in (
            "lease_expired", "liveness_lost",
        )  # fmt: skip
        (fleet.folder / "go").touch()
        facts.wait_for("one")
        Facts(connect(own_database_url)).wait_for("one")
        assert [len(said(second, f"^step {number}")) for number in (1, 2)] == [0, 1]
        assert [len(said(first, f"^step {number}")) for number in (1, 2)] == [1, 1]
        assert said(first, "Registered anew") == []
    finally:
        backup.stop()
