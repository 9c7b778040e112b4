"""`pyengine start`, with real processes and real signals: what it runs, what it returns, that nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from plugins.processes import Processes, Program

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform == "win32", reason="POSIX process groups")]

PATIENT = """
import os, signal, sys, time
def ended(number, frame):
    sys.stdout.write(f"got {signal.Signals(number).name}\\n")
    sys.stdout.flush()
    if sys.argv[1:] == ["finish"]:
        time.sleep(0.5)
        sys.stdout.write("finished\\n")
        sys.exit(0)
signal.signal(signal.SIGINT, ended)
signal.signal(signal.SIGTERM, ended)
os.write(1, f"pid {os.getpid()}\\n".encode())  # in one write: two of them share the pipe
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def start(processes: Processes) -> Callable[..., Program]:
    def start(*commands: str, folder: Path | None = None) -> Program:
        config = {"name": "shop", "language": "python", "runtimeConfig": {"start": list(commands)}}
        (processes.folder / "dbos-config.yaml").write_text(yaml.safe_dump(config))
        (processes.folder / "patient.py").write_text(PATIENT)
        return processes.module("pyengine", "start", folder=folder)

    return start


def pid_of(program: Program) -> int:
    return int(program.wait_for_line("^pid ").text.split()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def wait_until_gone(pid: int, seconds: float = 3) -> None:
    until = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < until, f"process {pid} is still there"
        time.sleep(0.02)


# A second, and what a busy machine takes on top.
ABOUT_A_SECOND = 3


def seconds_until_end(program: Program, *signals: int) -> tuple[int, float]:
    begun = time.monotonic()
    for number in signals:
        program.signal(number)
        time.sleep(0.1)
    return program.wait(10), time.monotonic() - begun


def test_commands_run_one_after_the_other_in_the_folder_of_the_configuration(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    program = start("pwd", "echo second", folder=tmp_path / "deep" / "below")

    assert program.wait(10) == 0
    assert program.stdout == [str(tmp_path), "second"]
    assert any(line.startswith("Executing: echo second") for line in program.stderr)


def test_the_first_failing_command_ends_it_with_its_code(start: Callable[..., Program]) -> None:
    program = start("exit 7", "echo never")

    assert program.wait(10) == 7
    assert program.stdout == []


def test_a_command_ended_by_a_signal_is_128_and_its_number(start: Callable[..., Program]) -> None:
    assert start("kill -USR1 $$").wait(10) == 128 + signal.SIGUSR1


def test_the_interpreters_folder_is_first_on_the_path(start: Callable[..., Program]) -> None:
    program = start("echo $PATH")

    assert program.wait(10) == 0
    assert program.stdout[0].split(":")[0] == os.path.dirname(sys.executable)


def test_a_command_has_a_process_group_of_its_own(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} -c 'import os; print(os.getpgrp() == os.getppid(), os.getsid(0))'")

    assert program.wait(10) == 0
    assert program.stdout == [f"True {program.pid}"]  # of its own, in the session of the terminal


def test_ctrl_c_reaches_the_command_once_and_its_code_is_returned(start: Callable[..., Program]) -> None:
    program = start(f"exec {sys.executable} patient.py finish")
    pid_of(program)

    program.interrupt()

    assert program.wait(10) == 0
    assert program.stdout[1:] == ["got SIGINT", "finished"]


def test_what_is_left_a_second_after_ctrl_c_is_killed(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py & {sys.executable} patient.py; wait")
    program.wait_for_line("^pid ", times=2)
    pids = [int(line.split()[1]) for line in program.stdout]

    status, seconds = seconds_until_end(program, signal.SIGINT)

    assert status == 130
    assert 0.9 < seconds < ABOUT_A_SECOND
    for pid in pids:
        wait_until_gone(pid)


def test_what_outlives_its_shell_after_ctrl_c_is_killed_too(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py & trap 'exit 3' INT; wait")
    left = pid_of(program)

    status, seconds = seconds_until_end(program, signal.SIGINT)

    assert status == 3
    assert seconds < ABOUT_A_SECOND
    wait_until_gone(left)


def test_a_second_ctrl_c_does_not_wait(start: Callable[..., Program]) -> None:
    fastest = 9.0
    for _ in range(4):  # less than the second of grace has to be seen once, on however busy a machine
        program = start(f"{sys.executable} patient.py")
        pid = pid_of(program)

        status, seconds = seconds_until_end(program, signal.SIGINT, signal.SIGINT)

        assert status == 130
        wait_until_gone(pid)
        fastest = min(fastest, seconds)
        if fastest < 0.9:
            break
    assert fastest < 0.9


def test_sigterm_is_patient(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py")
    pid = pid_of(program)

    program.terminate()
    program.wait_for_line("got SIGTERM")
    time.sleep(1.5)
    assert program.process.poll() is None

    status, seconds = seconds_until_end(program, signal.SIGTERM)  # the second signal is fast
    assert status == 143
    assert 0.9 < seconds < ABOUT_A_SECOND
    wait_until_gone(pid)


def test_sigterm_does_not_go_on_with_the_next_command(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py finish; echo next")
    pid_of(program)

    program.terminate()

    assert program.wait(10) == 0
    assert program.stdout[-1] == "finished"


def test_sigterm_waits_for_what_the_shell_put_in_the_background(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py finish & wait")
    pid_of(program)

    program.terminate()

    assert program.wait(10) == 143
    assert program.stdout[-1] == "finished"


def test_sigterm_waits_for_the_command_to_finish(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py finish")
    pid_of(program)

    program.terminate()

    assert program.wait(10) == 0
    assert program.stdout[-1] == "finished"


def test_a_command_that_was_stopped_can_be_ended(start: Callable[..., Program]) -> None:
    program = start(f"exec {sys.executable} patient.py finish")
    os.kill(pid_of(program), signal.SIGSTOP)

    program.terminate()

    assert program.wait(10) == 0
    assert program.stdout[-1] == "finished"


def test_nothing_stays_behind_when_the_wrapper_itself_is_killed(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py & {sys.executable} patient.py; wait")
    program.wait_for_line("^pid ", times=2)
    pids = [int(line.split()[1]) for line in program.stdout]

    program.kill()

    for pid in pids:
        wait_until_gone(pid)


def test_what_a_command_leaves_behind_on_purpose_stays(start: Callable[..., Program]) -> None:
    program = start(f"{sys.executable} patient.py >left.log 2>&1 & echo pid $!")
    left = pid_of(program)
    try:
        assert program.wait(10) == 0
        time.sleep(0.3)
        assert is_alive(left)
    finally:
        os.kill(left, signal.SIGKILL)
