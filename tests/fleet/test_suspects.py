"""Workflows that take their process with them: they end up alone, and user code that must end is ended."""

from __future__ import annotations

from .conftest import Worker, wait_until

CRASH = """
@DBOS.workflow(name="bystander")
def bystander():
    say("bystander", os.getpid())
    return 1

@DBOS.workflow(name="crash", max_recovery_attempts=4)
def crash():
    say("crash", os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)

@DBOS.workflow(name="enqueue_crash")
def enqueue_crash():
    with SetWorkflowID("bad"):
        queue.enqueue(crash)

@DBOS.workflow(name="thrice")
def thrice():
    say("thrice", os.getpid())
    with open("tries", "a") as file:
        file.write("x")
    if os.path.getsize("tries") <= 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"
"""


def test_a_workflow_that_crashes_its_process_runs_alone_and_is_set_aside(worker: Worker) -> None:
    worker.start(CRASH)
    worker.enqueue("start", "enqueue_crash")  # which, unlike the test, knows the limit of its attempts

    worker.facts.wait_for("bad", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", timeout_seconds=90)

    isolated = worker.facts.all("select distinct pid from pyengine.executors where is_isolated")
    crashed = [int(line.split()[1]) for line in worker.program.stdout if line.startswith("crash ")]
    assert len(isolated) >= 1
    assert crashed[-1] in isolated
    assert not set(crashed[:3]) & set(isolated)
    worker.enqueue("good", "bystander")
    worker.facts.wait_for("good")


def test_a_suspect_that_behaves_ends_well_and_the_seat_is_given_up(worker: Worker) -> None:
    worker.start(CRASH)
    worker.enqueue("suspect", "thrice")

    worker.facts.wait_for("suspect", timeout_seconds=90)

    last = [int(line.split()[1]) for line in worker.program.stdout if line.startswith("thrice ")][-1]
    assert worker.facts.all("select pid from pyengine.executors where is_isolated") == [last]
    assert worker.death(last)[0] == "retired"


def test_a_child_is_killed_when_an_order_is_due_though_it_holds_the_interpreter(worker: Worker) -> None:
    worker.start(
        """
import ctypes
from pyengine.runtime import supervision
from pyengine.runtime.context import current_run

@DBOS.step(retries_allowed=True, max_attempts=2, interval_seconds=0.01)
def held():
    run = current_run()
    supervision.current.order(supervision.KillOrder(
        at=time.monotonic() + 0.5, seconds=0.5, workflow_id=run.workflow_id, fence=run.fence,
        step_id=1, step_name="held", attempt=0,
    ))
    say("held", os.getpid())
    if not os.path.exists("again"):
        open("again", "w").close()
        ctypes.PyDLL(None).sleep(600)
    supervision.current.order(None)
    return 1

@DBOS.workflow(name="flow")
def flow():
    return held()

@DBOS.workflow(name="bystander")
def bystander():
    say("bystander", os.getpid())
    if not os.path.exists("again"):
        wait_for_file("never")
    return 1
""",
        processes=1,
    )
    worker.enqueue("by", "bystander")
    worker.program.wait_for_line("^bystander ", timeout_seconds=60)
    worker.enqueue("one", "flow")
    pid = int(worker.program.wait_for_line("^held ", timeout_seconds=60).text.split()[1])

    worker.facts.wait_for("one")
    worker.facts.wait_for("by")

    reason, detail = worker.death(pid)
    assert reason == "killed"
    assert "step held of workflow one took longer than 0.5 s" in detail
    # The attempt counts as one that failed, and nobody's crash does.
    assert worker.facts.all("select workflow_id, crashes from pyengine.outcomes order by 1") == [("by", 0), ("one", 0)]
    wait_until(lambda: len(worker.pids()) == 1, "a replacement")
