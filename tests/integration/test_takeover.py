"""Work survives the process that runs it: killed, frozen, fenced, ended in good order, or broken off from inside."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plugins.executors import rows
from plugins.fleet import Facts, Fleet, said
from pyengine import DBOS, Queue, SetWorkflowID
from pyengine.api._state import executor

Launch = Callable[..., type[DBOS]]

TWO_STEPS = """
    queue = Queue("work")

    @DBOS.step()
    def first(name):
        say("first", name)
        return name + "!"

    @DBOS.step()
    def second(name):
        say("second", name)
        time.sleep(float(os.environ.get("TEST_HOLD", "0")))
        return name + "?"

    @DBOS.workflow(name="flow", max_recovery_attempts=3)
    def flow(name):
        given = first(name)
        say("between", name)
        if os.path.exists("hold"):
            time.sleep(600)
        return second(given)

    @DBOS.workflow(name="sleeper")
    def sleeper(name):
        first(name)
        DBOS.sleep(1.5)
        return second(name)
"""


def wait_for(condition: Callable[[], object], timeout_seconds: float = 30) -> None:
    until = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def result_of(facts: Facts, workflow_id: str) -> bytes:
    return bytes(facts.one("select output from pyengine.outcomes where workflow_id = %s", workflow_id))


def start_one(name: str, function: str = "flow") -> str:
    return f"""
    with SetWorkflowID("{name}"):
        DBOS.start_workflow({function}, "{name}")
    """.replace("\n    ", "\n")


def test_a_live_neighbour_takes_over_a_killed_process(
    fleet: Fleet, facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither started anew nor told: the liveness lock is free, that is all."""
    fleet.define(TWO_STEPS)
    neighbour = fleet.start()
    (fleet.folder / "hold").touch()
    victim = fleet.start(after_launch=start_one("one") + start_one("two"))
    victim.wait_for_line("^between", times=2)
    (fleet.folder / "hold").unlink()
    victim.kill()
    killed = time.monotonic()
    facts.wait_for("one")
    facts.wait_for("two")
    took = time.monotonic() - killed
    with capsys.disabled():
        print(f"\n  taken over after kill -9 by a live neighbour in {took:.2f} s")
    assert took < 10  # 2.5 s on a quiet machine; without the liveness lock it would be the lease of 15 s
    assert said(neighbour, "^first") == []
    assert Counter(found[0] for found in said(neighbour, "^second .*")) == {"second one!": 1, "second two!": 1}
    assert (result_of(facts, "one"), result_of(facts, "two")) == (b'j"one!?"', b'j"two!?"')
    assert facts.all("select attempts, crashes from pyengine.outcomes") == [(2, 0)] * 2, "there was progress"


def test_a_new_process_vouches_for_the_dead_of_its_host(
    fleet: Fleet, facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.define(TWO_STEPS)
    (fleet.folder / "hold").touch()
    victim = fleet.start(after_launch=start_one("one"))
    victim.wait_for_line("^between")
    victim.kill()
    (fleet.folder / "hold").unlink()
    successor = fleet.start()
    up = successor.wait_for_line("^up ")
    done = successor.wait_for_line("^second")
    facts.wait_for("one")
    with capsys.disabled():
        print(f"\n  resumed {done.at - up.at:+.2f} s from the launch of the process started after kill -9")
    assert done.at - up.at < 5
    assert said(successor, "^first") == []
    why = facts.all("select dead_reason, dead_detail from pyengine.executors order by executor_id limit 1")
    assert why == [("process_gone", f"process {victim.pid}")]


def test_a_sleep_that_was_cut_short_ends_at_its_instant(fleet: Fleet, facts: Facts) -> None:
    fleet.define(TWO_STEPS)
    victim = fleet.start(after_launch=start_one("one", "sleeper"))
    facts.wait("select exists (select from pyengine.checkpoints where name = 'DBOS.sleep')")
    victim.kill()
    successor = fleet.start()
    facts.wait_for("one")
    assert said(successor, "^first") == []
    slept = facts.one(
        "select extract(epoch from s.completed_at - f.completed_at)::float8 from pyengine.checkpoints as f,"
        " pyengine.checkpoints as s where f.name = 'first' and s.name = 'second'"
    )
    assert slept >= 1.5


def test_a_queue_of_work_survives_one_kill_after_another(fleet: Fleet, facts: Facts) -> None:
    fleet.define(
        """
        queue = Queue("work", concurrency=8)

        @DBOS.step()
        def one(number):
            time.sleep(0.02)
            return number

        @DBOS.workflow(name="flow")
        def flow(number):
            return one(number) + one(1)

        @DBOS.workflow(name="fill")
        def fill():
            for number in range(120):
                queue.enqueue(flow, number)
        """
    )
    programs = [fleet.start(after_launch='with SetWorkflowID("fill"): DBOS.start_workflow(fill)'), fleet.start()]
    for _ in range(3):
        time.sleep(0.5)
        programs.pop(0).kill()
        programs.append(fleet.start())
    facts.wait("select not exists (select from pyengine.in_flight)", timeout_seconds=60)
    assert facts.all("select distinct status from pyengine.outcomes") == ["SUCCESS"]
    results = facts.all(
        "select convert_from(substr(o.output, 2), 'utf8')::integer from pyengine.outcomes as o"
        " join pyengine.workflows as w using (workflow_id) where w.name = 'flow'"
    )
    assert sorted(results) == list(range(1, 121))


def test_a_frozen_process_that_was_taken_over_writes_nothing_and_registers_anew(fleet: Fleet, facts: Facts) -> None:
    fleet.define(
        """
        queue = Queue("work")

        @DBOS.step()
        def step(name):
            say("step", name)
            if os.path.exists("hold"):
                while os.path.exists("hold"):
                    time.sleep(0.05)
            return os.environ["TEST_VERSION"] + str(os.getpid())

        @DBOS.workflow(name="flow")
        def flow(name):
            result = step(name)
            say("after", name)
            return result
        """
    )
    (fleet.folder / "hold").touch()
    frozen = fleet.start(ttl=1, after_launch='with SetWorkflowID("one"): DBOS.start_workflow(flow, "one")')
    frozen.wait_for_line("^step one")
    # While it holds this, it has four times its lease.
    facts.wait("select liveness_pid is not null from pyengine.executors")
    frozen.signal(signal.SIGSTOP)
    wait_for(lambda: Path(f"/proc/{frozen.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    (fleet.folder / "hold").unlink()
    neighbour = fleet.start(ttl=1)
    facts.wait_for("one")
    assert result_of(facts, "one") == f'j"v1{neighbour.pid}"'.encode()
    frozen.signal(signal.SIGCONT)
    frozen.wait_for_line("declared dead")
    frozen.wait_for_line("Registered anew")
    time.sleep(0.5)
    assert said(frozen, "^after") == []
    assert facts.one("select count(*) from pyengine.outcomes") == 1
    assert facts.one("select count(*) from pyengine.checkpoints where workflow_id = 'one'") == 1
    neighbour.kill()
    # It is an executor like any other again.
    facts.enqueue("two", "flow", "work", "v1", b'j{"args":["two"],"kwargs":{}}')
    frozen.wait_for_line("^after two")
    facts.wait_for("two")


def test_an_end_in_good_order_hands_over_at_once_and_counts_no_crash(
    fleet: Fleet, facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.define(
        """
        @DBOS.step()
        def step(number):
            say("step", number)
            if os.path.exists("hold"):
                time.sleep(600)

        @DBOS.workflow(name="flow", max_recovery_attempts=1)
        def flow(number):
            step(number)
        """
    )
    (fleet.folder / "hold").touch()
    leaving = fleet.start(
        after_launch="""
for number in range(3):
    DBOS.start_workflow(flow, number)
while not os.path.exists("leave"):
    time.sleep(0.02)
DBOS.destroy()
say("left")
"""
    )
    neighbour = fleet.start()
    leaving.wait_for_line("^step", times=3)
    (fleet.folder / "hold").unlink()
    (fleet.folder / "leave").touch()
    left = leaving.wait_for_line("^left")
    last = neighbour.wait_for_line("^step", times=3)
    with capsys.disabled():
        print(f"\n  handed over by destroy(): run elsewhere {last.at - left.at:+.2f} s after it returned")
    facts.wait("select count(*) = 3 from pyengine.outcomes")
    assert facts.all("select distinct status, crashes from pyengine.outcomes") == [("SUCCESS", 0)]
    assert last.at - left.at < 5


def test_a_claim_whose_reply_was_lost_is_run(
    launch: Launch, facts: Facts, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    launch(lease_ttl_seconds=1.5)
    ran: list[str] = []

    @DBOS.workflow(name="flow")
    def flow(name: str) -> str:
        ran.append(name)
        return name

    me = executor("test")
    # A queue that this process does not serve: so it is nobody else who claims.
    for number in range(3):
        facts.enqueue(f"lost {number}", "flow", "nobody's", me.app_version, b'j{"args":["%d"],"kwargs":{}}' % number)
    fence = secrets.randbits(63)
    claimed = rows(
        session_factory(), "claim_workflows",
        **me.owner, fence=fence, queue="nobody's", limit=100, unversioned=False, suspects="any",
        from_partitions=None, from_priorities=None, from_seqs=None, from_served_at=None,
    )  # fmt: skip
    assert len(claimed) == 3
    for number in range(3):
        facts.wait_for(f"lost {number}")
    assert sorted(ran) == ["0", "1", "2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_that_was_broken_off_is_run_again(
    launch: Launch, facts: Facts, error: type[BaseException], is_async: bool
) -> None:
    """Together with one that goes on under the same claim, and holds it."""
    launch(lease_ttl_seconds=1.5)
    done, runs, steps = threading.Event(), Counter[str](), Counter[str]()

    @DBOS.step()
    def step(name: str) -> None:
        steps[name] += 1

    def body(name: str) -> bool:
        runs[name] += 1
        step(name)
        if name == "broken" and runs[name] == 1:
            raise error
        return name == "busy"

    flow: Any
    if is_async:

        @DBOS.workflow(name="flow")
        async def flow_async(name: str) -> str:
            if body(name):
                while not done.is_set():
                    await asyncio.sleep(0.02)
            return name

        flow = flow_async
    else:

        @DBOS.workflow(name="flow")
        def flow_sync(name: str) -> str:
            if body(name):
                done.wait(60)
            return name

        flow = flow_sync
    assert flow
    me = executor("test")
    for name in ("broken", "busy"):
        facts.enqueue(name, "flow", "together", me.app_version, b'j{"args":["%s"],"kwargs":{}}' % name.encode())
    Queue("together")
    facts.wait_for("broken")
    assert facts.status("busy") == "PENDING"
    done.set()
    facts.wait_for("busy")
    assert (runs, steps) == (Counter(broken=2, busy=1), Counter(broken=1, busy=1))


def test_ctrl_c_in_a_direct_call_leaves_the_workflow_to_the_engine(launch: Launch, facts: Facts) -> None:
    launch(lease_ttl_seconds=1.5)
    runs = 0

    @DBOS.workflow()
    def flow() -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise KeyboardInterrupt
        return "done"

    with SetWorkflowID("one"), pytest.raises(KeyboardInterrupt):
        flow()
    facts.wait_for("one")
    assert runs == 2


def test_an_executor_declared_dead_by_mistake_goes_on_as_another(
    launch: Launch, facts: Facts, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    launch()
    queue = Queue("work")
    go, steps = threading.Event(), Counter[str]()

    @DBOS.step()
    def first(name: str) -> str:
        steps["first"] += 1
        return name

    @DBOS.step()
    def second(name: str) -> str:
        steps["second"] += 1
        go.wait(60)
        return name

    @DBOS.workflow()
    def flow(name: str) -> str:
        return second(first(name))

    with SetWorkflowID("one"):
        handle = queue.enqueue(flow, "one")
    wait_for(lambda: steps["second"] == 1)
    me = executor("test")
    before = me.identity
    mistake = {"reason": "process_gone", "detail": "a mistake", "culprit": None}
    assert rows(session_factory(), "mark_executor_dead", **before.owner, **mistake)
    wait_for(lambda: me.identity != before)
    wait_for(lambda: steps["second"] == 2)
    go.set()
    assert handle.get_result() == "one"
    assert steps == Counter(first=1, second=2)
    assert facts.one("select executor_id from pyengine.outcomes") == me.identity.executor_id
    facts.wait("select liveness_pid is not null from pyengine.executors where dead_at is null")


def test_what_crashes_its_process_is_set_aside(fleet: Fleet, facts: Facts) -> None:
    fleet.define(
        """
        @DBOS.workflow(name="bomb", max_recovery_attempts=2)
        def bomb():
            say("boom")
            os._exit(9)
        """
    )
    bomber = fleet.start(is_up=False, after_launch='with SetWorkflowID("bomb"): DBOS.start_workflow(bomb)')
    bomber.wait(30)
    for _ in range(4):
        if facts.status("bomb") == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
            break
        fleet.start(is_up=False, after_launch="time.sleep(2); os._exit(0)").wait(30)
    assert facts.status("bomb") == "MAX_RECOVERY_ATTEMPTS_EXCEEDED"


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="processes are vouched for, and frozen, as Linux does it")
