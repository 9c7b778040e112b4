"""The end: on SIGTERM running steps end and are recorded, the rest is handed over, and whoever waits is not kept."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .conftest import Worker, is_alive, is_root, wait_until

STEPS = """
@DBOS.step()
def first():
    say("first", os.getpid())
    wait_for_file("go")
    return 1

@DBOS.step()
def second():
    say("second")
    return 2

@DBOS.workflow(name="two")
def two():
    return first() + second()

@DBOS.workflow(name="last")
def last():
    return first()

@DBOS.workflow(name="sleeper")
def sleeper():
    say("sleeping")
    DBOS.sleep(600)
"""


def begin(worker: Worker, workflow_id: str, name: str, says: str) -> None:
    worker.enqueue(workflow_id, name)
    worker.program.wait_for_line(f"^{says}", timeout_seconds=60)


def reasons(worker: Worker) -> list[str]:
    found: list[str] = worker.facts.all("select distinct dead_reason from pyengine.executors")
    return found


def test_a_running_step_ends_and_is_recorded_and_the_rest_goes_elsewhere(worker: Worker) -> None:
    worker.start(STEPS, ttl=1.5)
    begin(worker, "one", "two", "first")
    worker.enqueue("two", "sleeper")
    worker.program.wait_for_line("^sleeping")

    worker.program.terminate()
    worker.program.wait_for_line("SIGTERM: claiming nothing more")
    # The sleeping one is broken off at once; the step goes on, and its process beats for longer than its lease.
    worker.facts.wait("select count(*) = 1 from pyengine.executors where dead_at is null", timeout_seconds=60)
    worker.enqueue("three", "two")
    worker.facts.wait(
        "select max(lease_expires_at - registered_at) > interval '8 s' from pyengine.executors where dead_at is null"
    )
    worker.touch("go")

    assert worker.program.wait() == 0
    assert [line for line in worker.program.stdout if line.startswith("second")] == []
    assert worker.facts.all("select name from pyengine.checkpoints where workflow_id = 'one'") == ["first"]
    assert worker.facts.all("select status, crashes from pyengine.in_flight order by workflow_id") == [
        ("ENQUEUED", 0), ("ENQUEUED", 0), ("ENQUEUED", 0),
    ]  # fmt: skip
    assert reasons(worker) == ["retired"]
    for workflow_id in ("one", "two", "three"):
        worker.give_up(workflow_id)


def test_a_workflow_in_its_last_step_finishes(worker: Worker) -> None:
    worker.start(STEPS)
    begin(worker, "one", "last", "first")

    worker.program.terminate()
    worker.program.wait_for_line("SIGTERM: claiming nothing more")
    worker.touch("go")

    assert worker.program.wait() == 0
    assert worker.facts.status("one") == "SUCCESS"


def test_a_step_that_does_not_end_in_its_time_of_grace_is_handed_over(worker: Worker) -> None:
    worker.start(STEPS, "--grace", "1")
    begin(worker, "one", "two", "first")

    worker.program.terminate()

    assert worker.program.wait() == 0
    assert worker.facts.all("select status, crashes from pyengine.in_flight") == [("ENQUEUED", 0)]
    worker.give_up("one")


def test_a_step_that_holds_the_interpreter_ends_with_the_grace(worker: Worker) -> None:
    worker.start(
        """
import ctypes

@DBOS.workflow(name="flow")
def flow():
    say("holding")
    ctypes.PyDLL(None).sleep(600)
""",
        "--grace",
        "1",
    )
    begin(worker, "one", "flow", "holding")

    worker.program.terminate()

    assert worker.program.wait() == 0
    assert worker.facts.all("select status, crashes from pyengine.in_flight") == [("ENQUEUED", 0)]
    assert sorted(reasons(worker)) == ["killed", "retired"]
    worker.give_up("one")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_is_fast(worker: Worker, number: signal.Signals) -> None:
    worker.start(STEPS, "--grace", "600")
    begin(worker, "one", "two", "first")

    worker.program.signal(number)
    worker.program.wait_for_line(f"{number.name}: claiming nothing more")
    worker.program.signal(number)

    assert worker.program.wait() == 128 + number
    assert worker.facts.all("select status, crashes from pyengine.in_flight") == [("ENQUEUED", 0)]
    worker.give_up("one")


def test_ctrl_c_in_a_terminal_reaches_everybody_and_means_the_same(worker: Worker) -> None:
    worker.start(STEPS)
    begin(worker, "one", "last", "first")

    worker.program.interrupt()  # the whole process group
    worker.program.wait_for_line("SIGINT: claiming nothing more")
    worker.touch("go")

    assert worker.program.wait() == 0
    assert worker.facts.status("one") == "SUCCESS"


def test_a_manager_that_signals_everybody_does_not_hurry_the_children(worker: Worker) -> None:
    worker.start(STEPS)
    begin(worker, "one", "last", "first")

    for pid in [*worker.pids(), worker.warden(), worker.program.pid]:
        signal_to(pid, signal.SIGTERM)
    worker.program.wait_for_line("SIGTERM: claiming nothing more")
    worker.touch("go")

    assert worker.program.wait() == 0
    assert worker.facts.status("one") == "SUCCESS"


def test_a_child_that_is_told_to_end_is_replaced(worker: Worker) -> None:
    worker.start(STEPS, processes=1)
    (pid,) = worker.pids()

    signal_to(pid, signal.SIGTERM)

    assert worker.death(pid)[0] == "retired"
    worker.wait_until_up(1)


@is_root
def test_the_first_process_of_a_container_drains_and_buries_strangers(worker: Worker) -> None:
    worker.start(
        """
import subprocess

@DBOS.step()
def orphan():
    subprocess.run(["sh", "-c", "sleep 0.2 & echo orphan $!"], check=True)
    return os.getppid()

@DBOS.workflow(name="flow")
def flow():
    return orphan()

@DBOS.workflow(name="zombies")
def zombies():
    found = []
    while True:
        states = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with open(f"/proc/{entry}/stat") as file:
                    name, rest = file.read().rsplit(")", 1)
                    states[name.split("(")[1]] = rest.split()[0]
        if "sleep" not in states:
            say("no zombies" if "Z" not in states.values() else states)
            return 1
        time.sleep(0.05)
""",
        under=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
        is_up=False,
    )
    worker.wait_until_up(2)
    worker.enqueue("one", "flow")
    worker.facts.wait_for("one")
    worker.enqueue("two", "zombies")
    worker.facts.wait_for("two")
    worker.program.wait_for_line("^no zombies")

    children = Path(f"/proc/{worker.program.pid}/task/{worker.program.pid}/children").read_text().split()
    signal_to(int(children[0]), signal.SIGTERM)

    assert worker.program.wait() == 0
    assert reasons(worker) == ["retired"]


def test_nobody_is_left_behind(worker: Worker) -> None:
    worker.start(STEPS)
    everybody = [*worker.pids(), worker.warden()]

    worker.program.terminate()

    assert worker.program.wait() == 0
    for pid in everybody:
        wait_until(lambda pid=pid: not is_alive(pid), f"end of {pid}")  # type: ignore[misc]


def signal_to(pid: int, number: int) -> None:
    import os

    os.kill(pid, number)
