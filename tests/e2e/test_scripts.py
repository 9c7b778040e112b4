"""Programs without a web server, on their embedded database: interrupted, killed, restarted, and two at once."""

from __future__ import annotations

import json
import signal
import sys
import time

import pytest

from plugins.processes import Processes, Program

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

# A second, and what a busy machine takes on top.
ENDS_WITHIN = 2.0
# Well below the time a lease takes to run out, which nobody has to wait for on one machine.
CONTINUES_WITHIN = 10.0

PROGRAM = """
import asyncio, sys, threading
from pyengine import DBOS

DBOS()

def say(line):
    sys.stdout.write(line + "\\n")  # one write, whatever other threads print

@DBOS.step()
def note(number):
    say(f"step {number}")

@DBOS.workflow()
def work():
    note(1)
    DBOS.sleep(2)
    note(2)
    DBOS.sleep(1)
    note(3)

@DBOS.workflow()
async def work_async():
    note(1)
    await DBOS.sleep_async(2)
    note(2)
    await DBOS.sleep_async(1)
    note(3)

async def call_async():
    DBOS.launch()
    await work_async()

def wait():
    say("waiting")
    threading.Event().wait()

if __name__ == "__main__":
    what = sys.argv[1]
    if what == "async":
        asyncio.run(call_async())
    else:
        DBOS.launch()
        if what == "call":
            work()
        elif what == "background":
            DBOS.start_workflow(work)
        wait()
"""


def start(processes: Processes, what: str) -> Program:
    return processes.start(PROGRAM, what)


def press_ctrl_c(program: Program) -> None:
    pressed_at = time.monotonic()
    program.interrupt()
    program.wait(10)
    assert time.monotonic() - pressed_at < ENDS_WITHIN, program.report()
    # Python's own Ctrl-C: the program decides what it does about it.
    assert program.process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in program.stderr


def steps(program: Program) -> list[str]:
    return [line for line in program.stdout if line.startswith("step")]


def assert_healthy(processes: Processes) -> None:
    doctor = processes.module("pyengine", "doctor", "--json")
    assert doctor.wait(30) == 0, doctor.report()
    assert not json.loads("\n".join(doctor.stdout))


@pytest.mark.parametrize("what", ["background", "call", "async"])
def test_ctrl_c_ends_it_and_the_next_start_goes_on(processes: Processes, what: str) -> None:
    program = start(processes, what)
    program.wait_for_line("step 1")
    time.sleep(0.2)

    press_ctrl_c(program)
    assert steps(program) == ["step 1"]

    again = start(processes, "wait")
    again.wait_for_line("step 3")
    assert steps(again) == ["step 2", "step 3"]
    press_ctrl_c(again)


def test_what_a_killed_process_left_goes_on_in_the_other(processes: Processes) -> None:
    """Also in the first seconds of the server, when free liveness locks prove nothing yet."""
    other = start(processes, "wait")
    other.wait_for_line("waiting")
    program = start(processes, "background")
    program.wait_for_line("step 1")
    time.sleep(0.2)

    program.kill()
    killed_at = time.monotonic()

    assert other.wait_for_line("step 2").at - killed_at < CONTINUES_WITHIN, other.report()
    other.wait_for_line("step 3")
    assert steps(other) == ["step 2", "step 3"]
    time.sleep(0.2)
    assert_healthy(processes)
    press_ctrl_c(other)
    assert_healthy(processes)
