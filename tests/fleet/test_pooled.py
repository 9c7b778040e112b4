"""A whole fleet behind PgBouncer in transaction mode: no session is anybody's own, and nobody misses one."""

from __future__ import annotations

import os
import signal

import pytest

from plugins.fleet import Facts
from plugins.processes import Processes

from .conftest import Worker, is_alive, wait_until

HOLD = """
@DBOS.step()
def first():
    say("first", os.getpid())
    wait_for_file("go")
    return 1

@DBOS.step()
def second():
    say("second", os.getpid())
    return 2

@DBOS.workflow(name="flow")
def flow():
    return first() + second()
"""


@pytest.fixture
def pooled(processes: Processes, pooled_url: str, facts: Facts) -> Worker:
    return Worker(processes, pooled_url, facts)


def test_a_killed_child_is_replaced_and_a_drain_ends_in_good_order(pooled: Worker, facts: Facts) -> None:
    pooled.start(HOLD, ttl=6)
    pooled.enqueue("one", "flow")
    killed = int(pooled.program.wait_for_line(r"^first ", timeout_seconds=60).text.split()[1])
    os.kill(killed, signal.SIGKILL)
    # Told by its supervisor, not found by its lease.
    pooled.program.wait_for_line(r"^first ", times=2, timeout_seconds=60)
    assert pooled.death(killed)[0] == "child_died"
    pooled.wait_until_up(2)
    # The warden's beats keep all of them alive, though nobody holds a lock that says so.
    since = facts.one("select clock_timestamp()")
    facts.wait(
        "select bool_and(lease_expires_at > %s + interval '12 s') from pyengine.executors"
        " where dead_at is null and not is_isolated",
        since,
    )
    assert facts.one("select count(*) from pyengine.executors where liveness_pid is not null") == 0
    assert facts.all("select distinct is_pooled from pyengine.executors") == [True]

    children = pooled.pids()
    pooled.program.terminate()
    pooled.program.wait_for_line("SIGTERM: claiming nothing more")
    pooled.touch("go")
    assert pooled.program.wait() == 0
    wait_until(lambda: not any(is_alive(pid) for pid in children), "the children's end")
    # The running step was recorded; what comes after it is anybody's, or was done before the order came.
    assert "first" in facts.all("select name from pyengine.checkpoints where workflow_id = 'one'")
    if facts.status("one") != "SUCCESS":
        assert facts.all("select status, crashes from pyengine.in_flight") == [("ENQUEUED", 1)]
        pooled.start(HOLD)
        facts.wait_for("one")
        pooled.program.terminate()
        assert pooled.program.wait() == 0
