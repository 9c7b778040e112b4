"""Ctrl-C, in real processes: whose handler is wrapped, and how long the process may live after it."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from plugins.processes import Processes, Program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

PRELUDE = """
import signal, sys, threading, time
from pyengine.runtime.signals import install_interrupt_hook, remove_interrupt_hook

def interrupted():
    sys.stdout.write("handing back\\n")  # one write: two threads print at once

def server_handler(number, frame):
    sys.stdout.write("server handler\\n")
"""


def run(processes: Processes, body: str) -> Program:
    program = processes.start(PRELUDE + body)
    program.wait_for_line("^ready$")
    return program


def press_ctrl_c(program: Program) -> tuple[int, float]:
    pressed_at = time.monotonic()
    program.signal(signal.SIGINT)
    return program.wait(10), time.monotonic() - pressed_at


def test_a_script_keeps_keyboard_interrupt(processes: Processes) -> None:
    program = run(
        processes,
        """
print("installed", install_interrupt_hook(interrupted))
try:
    print("ready")
    time.sleep(20)
except KeyboardInterrupt:
    print("keyboard interrupt")
""",
    )
    assert press_ctrl_c(program)[0] == 0
    assert program.stdout == ["installed False", "ready", "keyboard interrupt"]


def test_asyncio_run_keeps_its_cancellation(processes: Processes) -> None:
    program = run(
        processes,
        """
import asyncio

async def main():
    print("installed", install_interrupt_hook(interrupted))
    print("ready")
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        print("cancelled")
        raise

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("keyboard interrupt")
""",
    )
    assert press_ctrl_c(program)[0] == 0
    assert "installed False" in program.stdout
    assert "keyboard interrupt" in program.stdout
    assert "handing back" not in program.stdout


def test_a_process_that_does_not_end_is_ended_after_the_budget(processes: Processes) -> None:
    program = run(
        processes,
        """
signal.signal(signal.SIGINT, server_handler)
install_interrupt_hook(interrupted, budget_seconds=0.5)
sys.stdout.write("ready\\n")
while True:
    time.sleep(0.1)
""",
    )
    status, seconds = press_ctrl_c(program)
    assert status == 130
    assert 0.4 < seconds < 1.5
    assert {"handing back", "server handler"} <= set(program.stdout)


def test_what_was_printed_is_flushed_before_the_end(processes: Processes) -> None:
    program = processes.start(
        PRELUDE
        + """
signal.signal(signal.SIGINT, lambda number, frame: print("buffered words"))
install_interrupt_hook(lambda: None, budget_seconds=0.2)
print("ready", flush=True)
while True:
    time.sleep(0.1)
""",
        env={"PYTHONUNBUFFERED": ""},
    )
    program.wait_for_line("^ready$")
    assert press_ctrl_c(program)[0] == 130
    assert "buffered words" in program.stdout


def test_a_failing_or_slow_hand_back_does_not_delay_the_end(processes: Processes) -> None:
    program = run(
        processes,
        """
signal.signal(signal.SIGINT, server_handler)
install_interrupt_hook(lambda: time.sleep(60), budget_seconds=0.3)
print("ready")
while True:
    time.sleep(0.1)
""",
    )
    status, seconds = press_ctrl_c(program)
    assert status == 130
    assert seconds < 1.5


def test_a_second_interrupt_reaches_the_server_too(processes: Processes) -> None:
    program = run(
        processes,
        """
signal.signal(signal.SIGINT, server_handler)
install_interrupt_hook(interrupted, budget_seconds=0.8)
print("ready")
while True:
    time.sleep(0.05)
""",
    )
    program.signal(signal.SIGINT)
    program.wait_for_line("server handler")
    assert press_ctrl_c(program)[0] == 130
    assert program.stdout.count("server handler") == 2
    assert program.stdout.count("handing back") == 1


def test_a_program_that_goes_on_after_shutdown_keeps_its_time(processes: Processes) -> None:
    program = run(
        processes,
        """
stopped = threading.Event()
signal.signal(signal.SIGINT, lambda number, frame: stopped.set())
before = signal.getsignal(signal.SIGINT)
install_interrupt_hook(interrupted, budget_seconds=0.2)
print("ready")
while not stopped.wait(0.05):
    pass
remove_interrupt_hook()
time.sleep(0.6)
print("restored", signal.getsignal(signal.SIGINT) is before)
""",
    )
    assert press_ctrl_c(program)[0] == 0
    assert program.stdout[-1] == "restored True"


def test_no_thread_keeps_an_interrupted_process_alive(processes: Processes) -> None:
    program = run(
        processes,
        """
stopped = threading.Event()
signal.signal(signal.SIGINT, lambda number, frame: stopped.set())
install_interrupt_hook(interrupted, budget_seconds=0.5)
threading.Thread(target=time.sleep, args=(60,)).start()
print("ready")
while not stopped.wait(0.05):
    pass
remove_interrupt_hook()
""",
    )
    status, seconds = press_ctrl_c(program)
    assert status == 130
    assert seconds < 1.5


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_servers_handler_in_the_event_loop_is_called_too(processes: Processes, loop: str) -> None:
    pytest.importorskip(loop)
    program = run(
        processes,
        f"""
import asyncio, {loop}

async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopped.set)
    print("installed", install_interrupt_hook(interrupted))
    print("ready")
    await stopped.wait()
    remove_interrupt_hook()
    await asyncio.sleep(0.3)
    print("stopped")

loop = {loop}.new_event_loop()
loop.run_until_complete(main())
loop.close()
""",
    )
    assert press_ctrl_c(program)[0] == 0
    assert program.stdout == ["installed True", "ready", "handing back", "stopped"]


def test_a_forked_child_only_passes_the_signal_on(processes: Processes) -> None:
    program = run(
        processes,
        """
import os
signal.signal(signal.SIGINT, lambda number, frame: os._exit(7))
install_interrupt_hook(interrupted, budget_seconds=0.2)
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("ready")
""",
    )
    assert program.wait(10) == 0
    assert program.stdout == ["child 7", "ready"]


def test_nothing_is_installed_outside_the_main_thread(processes: Processes) -> None:
    program = processes.start(
        PRELUDE
        + """
signal.signal(signal.SIGINT, server_handler)
thread = threading.Thread(target=lambda: print("installed", install_interrupt_hook(interrupted)))
thread.start(); thread.join()
print("untouched", signal.getsignal(signal.SIGINT) is server_handler)
"""
    )
    assert program.wait(10) == 0
    assert program.stdout == ["installed False", "untouched True"]
