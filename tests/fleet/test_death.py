"""Whatever dies, work goes on, and it is written down what it died of."""

from __future__ import annotations

import os
import signal

from .conftest import Worker, is_alive, wait_until

HOLD = """
@DBOS.step()
def first():
    say("first", os.getpid())
    if not os.path.exists("go"):
        time.sleep(600)
    return 1

@DBOS.workflow(name="flow")
def flow():
    return first()
"""


def pid_said(worker: Worker, word: str, times: int = 1) -> int:
    return int(worker.program.wait_for_line(f"^{word} ", times=times, timeout_seconds=60).text.split()[1])


def test_a_killed_child_is_replaced_and_its_work_goes_on(worker: Worker) -> None:
    worker.start(HOLD)
    worker.enqueue("one", "flow")
    first = pid_said(worker, "first")
    worker.touch("go")

    os.kill(first, signal.SIGKILL)

    worker.facts.wait_for("one")
    assert pid_said(worker, "first", times=2) != first
    reason, detail = worker.death(first)
    assert reason == "child_died"
    assert "SIGKILL" in detail
    assert "peak memory" in detail
    worker.wait_until_up(2)
    assert first not in worker.pids()
    seats = worker.facts.all("select distinct split_part(seat, ':', 2) from pyengine.executors order by 1")
    assert seats == ["1", "2"]


def test_the_exit_code_is_recorded(worker: Worker) -> None:
    worker.start("""
@DBOS.workflow(name="flow")
def flow():
    if not os.path.exists("went"):
        open("went", "w").close()
        say("leaving", os.getpid())
        os._exit(7)
    return 1
""")
    worker.enqueue("one", "flow")

    worker.facts.wait_for("one")
    reason, detail = worker.death(pid_said(worker, "leaving"))
    assert reason == "child_died"
    assert "exit code 7" in detail


def test_a_killed_warden_is_replaced_and_buries_the_dead(worker: Worker) -> None:
    worker.start(HOLD)
    worker.enqueue("one", "flow")
    first = pid_said(worker, "first")
    worker.touch("go")

    # Both at once: the next warden finds the dead child on the board.
    for pid in (worker.warden(), first):
        os.kill(pid, signal.SIGKILL)

    worker.program.wait_for_line("another one follows")
    worker.facts.wait_for("one")
    assert worker.death(first)[0] == "child_died"


def test_children_of_a_killed_parent_hand_back_and_end(worker: Worker) -> None:
    worker.start(HOLD)
    worker.enqueue("one", "flow")
    pid_said(worker, "first")
    everybody = [*worker.pids(), worker.warden()]

    worker.program.kill()

    for pid in everybody:
        wait_until(lambda pid=pid: not is_alive(pid), f"end of {pid}")  # type: ignore[misc]
    assert worker.facts.all("select distinct dead_reason from pyengine.executors") == ["retired"]
    assert worker.facts.status("one") == "ENQUEUED"
    assert worker.facts.one("select crashes from pyengine.in_flight") == 0
    worker.give_up("one")


def test_a_step_that_holds_the_interpreter_is_not_taken_for_dead(worker: Worker) -> None:
    worker.start(
        """
import ctypes

@DBOS.step()
def hold():
    say("holding", os.getpid())
    ctypes.PyDLL(None).sleep(8)  # unlike CDLL it keeps the interpreter's lock
    return os.getpid()

@DBOS.workflow(name="flow")
def flow():
    return hold()
""",
        ttl=1.5,  # a held liveness lock alone would do for four times as long
    )
    worker.enqueue("one", "flow")
    pid = pid_said(worker, "holding")

    worker.facts.wait_for("one")

    assert pid in worker.pids()
    assert worker.facts.one("select attempts from pyengine.outcomes") == 1


def test_a_child_that_is_stopped_for_longer_than_its_lease_is_killed(worker: Worker) -> None:
    worker.start(HOLD, ttl=1.5)
    worker.enqueue("one", "flow")
    first = pid_said(worker, "first")
    worker.touch("go")

    os.kill(first, signal.SIGSTOP)

    worker.facts.wait_for("one")
    reason, detail = worker.death(first)
    assert reason == "killed"
    assert "stopped" in detail
    assert not is_alive(first)


def test_a_child_that_is_continued_in_time_is_left_alone(worker: Worker) -> None:
    worker.start(HOLD, ttl=15)
    pids = worker.pids()

    os.kill(pids[0], signal.SIGSTOP)
    os.kill(pids[0], signal.SIGCONT)
    worker.touch("go")
    for number in range(4):
        worker.enqueue(f"one-{number}", "flow")

    for number in range(4):
        worker.facts.wait_for(f"one-{number}")
    assert worker.pids() == pids


def test_a_child_that_lost_its_lease_is_killed_and_replaced(worker: Worker) -> None:
    worker.start(HOLD)
    worker.enqueue("one", "flow")
    first = pid_said(worker, "first")
    worker.touch("go")

    worker.facts.execute(
        "update pyengine.executors set dead_at = now(), dead_reason = 'lease_expired' where pid = %s", first
    )

    wait_until(lambda: not is_alive(first), "end of the fenced child")
    worker.facts.wait_for("one")
    worker.wait_until_up(2)
    assert worker.facts.one("select count(*) from pyengine.executors where pid = %s", first) == 1


def test_a_killed_child_is_followed_by_a_pause_when_it_dies_again_and_again(worker: Worker) -> None:
    worker.start(HOLD, processes=1)

    for _ in range(3):
        (pid,) = worker.pids()
        os.kill(pid, signal.SIGKILL)
        worker.death(pid)
        worker.wait_until_up(1)

    worker.program.wait_for_line(r"it is replaced$")
    worker.program.wait_for_line(r"it is replaced in [0-9.]+ s")
