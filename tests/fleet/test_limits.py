"""Code that does not end in time: its process is killed, it counts as failed, and nobody else suffers for it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pyengine.serialization import Codec

from .conftest import Worker

BESIDE = """
@DBOS.step()
def beside():
    say("beside", os.getpid())
    if not os.path.exists("go"):
        time.sleep(600)
    return "done"

@DBOS.workflow(name="other", max_recovery_attempts=0)
def other():
    return beside()
"""
OVERRUN = (
    BESIDE
    + """
from pyengine.error import DBOSMaxStepRetriesExceeded, DBOSStepTimeoutError

@DBOS.step(kill_after_seconds=1)
def slow():
    say("slow", os.getpid(), DBOS.step_status.current_attempt)
    time.sleep(600)

@DBOS.step(kill_after_seconds=2, retries_allowed=True, max_attempts=2, interval_seconds=0.01)
def tried():
    say("tried", os.getpid(), DBOS.step_status.current_attempt)
    if DBOS.step_status.current_attempt == 0 or os.path.exists("hopeless"):
        time.sleep(600)
    return "in the end"

@DBOS.workflow(name="flow", max_recovery_attempts=0)
def flow():
    try:
        slow()
    except DBOSStepTimeoutError as error:
        return [error.step_name, error.timeout_seconds]

@DBOS.workflow(name="retrying", max_recovery_attempts=0)
def retrying():
    try:
        return tried()
    except DBOSMaxStepRetriesExceeded as error:
        return [type(each).__name__ for each in error.errors]
"""
)


def result(worker: Worker, workflow_id: str) -> Any:
    worker.facts.wait_for(workflow_id)
    return Codec().decode(
        bytes(worker.facts.one("select output from pyengine.outcomes where workflow_id = %s", workflow_id))
    )


def crashes(worker: Worker) -> list[int]:
    found: list[int] = worker.facts.all("select crashes from pyengine.outcomes order by workflow_id")
    return found


def pids_said(worker: Worker, word: str) -> list[int]:
    return [int(line.split()[1]) for line in worker.program.stdout if line.startswith(word + " ")]


def test_a_step_that_overruns_is_killed_and_raised_in_its_workflow(worker: Worker) -> None:
    worker.start(OVERRUN, processes=1)
    worker.enqueue("two", "other")
    worker.program.wait_for_line("^beside ", timeout_seconds=60)
    worker.enqueue("one", "flow")
    victim = int(worker.program.wait_for_line("^slow ", timeout_seconds=60).text.split()[1])

    reason, detail = worker.death(victim)
    worker.touch("go")
    assert result(worker, "one") == ["slow", 1.0]
    assert result(worker, "two") == "done"
    assert reason == "killed"
    assert "step slow of workflow one took longer than 1.0 s" in detail
    assert pids_said(worker, "slow") == [victim], "it is not run again"
    assert pids_said(worker, "beside")[0] == victim
    assert len(pids_said(worker, "beside")) == 2
    assert crashes(worker) == [0, 0], "with max_recovery_attempts=0 a counted crash would be the end"
    steps = worker.facts.all("select name, error is not null from pyengine.checkpoints where workflow_id = 'one'")
    assert steps == [("slow", True)]


def test_a_killed_attempt_is_retried(worker: Worker) -> None:
    worker.start(OVERRUN, processes=1)
    worker.enqueue("one", "retrying")

    assert result(worker, "one") == "in the end"
    attempts = [line.split()[2] for line in worker.program.stdout if line.startswith("tried ")]
    assert attempts == ["0", "1"]
    assert len(set(pids_said(worker, "tried"))) == 2
    assert crashes(worker) == [0]


def test_when_all_attempts_are_killed_the_workflow_is_told(worker: Worker) -> None:
    worker.folder.mkdir(parents=True, exist_ok=True)
    worker.touch("hopeless")
    worker.start(OVERRUN, processes=1)
    worker.enqueue("one", "retrying")

    assert result(worker, "one") == ["DBOSStepTimeoutError"] * 2
    assert crashes(worker) == [0]


HOLDS_THE_INTERPRETER = (
    BESIDE
    + """
import ctypes

@DBOS.step(kill_after_seconds=1)
def deaf():
    say("deaf", os.getpid())
    ctypes.PyDLL(None).sleep(600)  # a call that does not let go of the interpreter

@DBOS.workflow(name="flow", max_recovery_attempts=0)
def flow():
    try:
        deaf()
    except Exception as error:
        return type(error).__name__
"""
)


def test_a_step_that_holds_the_interpreter_is_killed_as_well(worker: Worker) -> None:
    worker.start(HOLDS_THE_INTERPRETER, processes=1)
    worker.enqueue("one", "flow")

    assert result(worker, "one") == "DBOSStepTimeoutError"


CANCELLED = (
    BESIDE
    + """
from pyengine import SetWorkflowTimeout

@DBOS.step()
def stubborn():
    say("stubborn", os.getpid())
    time.sleep(600)

@DBOS.workflow(name="flow", kill_after_seconds=1)
def flow():
    stubborn()

@DBOS.workflow(name="starter")
def starter():
    with SetWorkflowTimeout(3):
        return DBOS.start_workflow(flow).workflow_id
"""
)


@pytest.mark.parametrize("by", ["cancel", "deadline"])
def test_code_that_goes_on_after_its_workflow_was_cancelled_is_killed(worker: Worker, by: str) -> None:
    worker.start(CANCELLED, processes=1)
    worker.enqueue("two", "other")
    worker.program.wait_for_line("^beside ", timeout_seconds=60)
    worker.enqueue("one", "flow" if by == "cancel" else "starter")
    victim = int(worker.program.wait_for_line("^stubborn ", timeout_seconds=60).text.split()[1])
    if by == "cancel":
        worker.give_up("one")

    reason, detail = worker.death(victim)
    worker.touch("go")
    cancelled = (
        "one"
        if by == "cancel"
        else worker.facts.one("select workflow_id from pyengine.workflows where parent_id = 'one'")
    )
    worker.facts.wait_for(cancelled, "CANCELLED")
    assert result(worker, "two") == "done"
    assert reason == "killed"
    assert f"workflow {cancelled} took longer than 1.0 s" in detail
    assert pids_said(worker, "stubborn") == [victim]
    assert worker.facts.one("select crashes from pyengine.outcomes where workflow_id = 'two'") == 0


IN_TIME = (
    BESIDE
    + """
@DBOS.step(kill_after_seconds=60)
def quick():
    return 1

@DBOS.workflow(name="flow", kill_after_seconds=60)
def flow():
    say("flow", os.getpid())
    return sum(quick() for _ in range(20))
"""
)


def test_what_ends_in_time_leaves_no_order_behind(worker: Worker) -> None:
    worker.start(IN_TIME, processes=1)
    worker.enqueue("one", "flow")

    assert result(worker, "one") == 20
    (pid,) = pids_said(worker, "flow")
    assert worker.pids() == [pid]
    os.kill(pid, 0)
