"""The tutorial's programs, run as it prints them and in the way it tells its reader to: they print what it says."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from plugins.embedded_projects import Project
from plugins.processes import ROOT, WHOLE_LINES, Processes, Program

pytest.importorskip("fastapi_cli")

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

PROGRAMS = Path(__file__).parent / "tutorial"
STEPS, HTTP, QUEUE, OTHER_STEP, SCHEDULE = (
    (PROGRAMS / f"{name}.py").read_text()
    for name in ("1_steps", "2_http", "3_queue", "3_other_step", "4_schedule")
)  # fmt: skip
PRINTED_IN = ROOT.parent / "shared" / "tutorial.md"

# The issue says about a second. A busy machine takes its share, and so does `start` after the program's own end.
ENDS_WITHIN = 2.5
RESUMES_WITHIN = 2.0

PRESS = "Press Control + C to stop the app..."
OWN_LINES = re.compile(
    r"Step \w+ completed!|Press Control \+ C to stop the app\.\.\.|Enqueueing steps|Successfully completed \d+ steps"
    r"|I am a scheduled workflow\. It is currently \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00\."
)


class Reader:
    """Somebody who follows the tutorial in a folder and a terminal of their own."""

    def __init__(self, processes: Processes, commands: Path) -> None:
        self.folder = processes.folder
        self._processes = processes
        commands.mkdir()
        command = commands / "dbos"  # what installing the distribution puts beside the interpreter
        command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m dbos \"$@\"\n")
        command.chmod(0o755)
        search = [str(commands), os.path.dirname(sys.executable), os.environ["PATH"]]
        self._environment = {
            "PATH": os.pathsep.join(search),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "compat" / "dbos"), str(WHOLE_LINES)]),
        }

    def runs(self, *command: str) -> Program:
        return self._processes.run(*command, env=self._environment)

    def writes(self, source: str) -> None:
        (self.folder / "main.py").write_text(source)

    def initializes(self) -> None:
        assert self.runs("dbos", "init", "--config").wait(30) == 0

    def starts_the_app(self) -> Program:
        program = self.runs("dbos", "start")
        program.wait_for_line(r"Uvicorn running on http://0\.0\.0\.0:8000 \(Press CTRL\+C to quit\)")
        return program

    def visits_the_page(self) -> None:
        """Asks without waiting for the answer, which may never come."""

        def get() -> None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen("http://localhost:8000", timeout=60).close()

        threading.Thread(target=get, daemon=True).start()

    def presses_ctrl_c(self, program: Program) -> None:
        pressed_at = time.monotonic()
        program.interrupt()
        program.wait(10)
        assert time.monotonic() - pressed_at < ENDS_WITHIN, program.report()
        assert "Traceback" not in program.report()

    def kills_everything(self, program: Program) -> None:
        """kill -9 of the command, of all that it started, and of the database server."""
        for pid in reversed(descendants(program.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        program.kill()
        Project(self.folder).kill_everything()


@pytest.fixture
def reader(processes: Processes, port_8000: int, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(processes, tmp_path_factory.mktemp("installed") / "bin")


def printed(program: Program) -> list[str]:
    """What the tutorial's code printed. The web server prints to the same stream, and what two threads print at the
    same moment may run together: to a pipe a text and its line's end are two writes.
    """
    return OWN_LINES.findall("\n".join(program.stdout))


def descendants(pid: int) -> list[int]:
    """The process and all below it, parents first."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for child, parent in (map(int, row.split()) for row in table.splitlines()):
        children.setdefault(parent, []).append(child)
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def with_other_step(source: str) -> str:
    """The program with its step's definition changed to the other one."""
    changed, replaced = re.subn(r"@DBOS\.step\(\)\ndef dbos_step.*?(?=\n\n)", OTHER_STEP.rstrip(), source, flags=re.S)
    assert replaced == 1
    return changed


@pytest.mark.skipif(not PRINTED_IN.exists(), reason="the tutorial is not beside the checkout")
def test_the_programs_are_the_printed_ones() -> None:
    blocks = re.findall(r"^```python[^\n]*\n(.*?)^```", PRINTED_IN.read_text(), flags=re.S | re.M)

    assert blocks == [STEPS, HTTP, QUEUE, OTHER_STEP, SCHEDULE]


def test_workflows_and_steps(reader: Reader) -> None:
    reader.initializes()
    reader.writes(STEPS)

    program = reader.runs("python3", "main.py")

    assert program.wait(60) == 0, program.report()
    assert program.stdout == ["Step one completed!", "Step two completed!"]
    said = "\n".join(program.stderr)
    line = r"^\d\d:\d\d:\d\d \[    INFO\] \(dbos:_dbos\.py:\d+\) {}$"
    assert re.match(line.format("Initializing DBOS"), program.stderr[0]), said
    assert re.match(line.format("DBOS launched"), program.stderr[-1]), said
    assert all(re.match(line.format(".*").replace("_dbos", "_[a-z]+"), text) for text in program.stderr), said


@pytest.mark.parametrize("end", [Reader.presses_ctrl_c, Reader.kills_everything])
def test_a_workflow_recovers_from_the_last_completed_step(
    reader: Reader, end: Callable[[Reader, Program], None]
) -> None:
    reader.initializes()
    reader.writes(HTTP)
    program = reader.starts_the_app()
    reader.visits_the_page()
    program.wait_for_line(re.escape(PRESS), times=3)

    end(reader, program)

    assert printed(program) == ["Step one completed!", PRESS, PRESS, PRESS]

    again = reader.starts_the_app()
    again.wait_for_line("Step two completed!")
    assert printed(again) == [PRESS] * 5 + ["Step two completed!"]
    launched, resumed = again.wait_for_line("DBOS launched"), again.wait_for_line(re.escape(PRESS))
    assert resumed.at - launched.at < RESUMES_WITHIN
    reader.presses_ctrl_c(again)


def test_ten_queued_steps_run_at_the_same_time(reader: Reader) -> None:
    reader.initializes()
    reader.writes(QUEUE)
    program = reader.starts_the_app()
    reader.visits_the_page()

    program.wait_for_line("Successfully completed 10 steps")

    lines = printed(program)
    assert (lines[0], lines[-1]) == ("Enqueueing steps", "Successfully completed 10 steps")
    # In any order: they end at the same moment.
    assert sorted(lines[1:-1]) == [f"Step {n} completed!" for n in range(10)]
    ends = [line.at for line in program.lines if "Step " in line.text]
    assert ends[-1] - ends[0] < 5, "none waited for another one's end"
    reader.presses_ctrl_c(program)


def test_queued_steps_that_are_completed_are_not_run_again(reader: Reader) -> None:
    reader.initializes()
    reader.writes(with_other_step(QUEUE))
    program = reader.starts_the_app()
    reader.visits_the_page()
    program.wait_for_line("Step 4 completed!")
    time.sleep(0.3)  # printed, and also recorded

    reader.presses_ctrl_c(program)

    # Ending may take as long as step 5 still needed, whose end is not recorded any more.
    assert printed(program)[:6] == ["Enqueueing steps", *(f"Step {n} completed!" for n in range(5))]

    again = reader.starts_the_app()
    again.wait_for_line("Successfully completed 10 steps")
    assert printed(again) == [
        "Enqueueing steps",
        *(f"Step {n} completed!" for n in range(5, 10)),
        "Successfully completed 10 steps",
    ]
    reader.presses_ctrl_c(again)


def test_a_scheduled_workflow_runs_every_second(reader: Reader) -> None:
    reader.initializes()
    reader.writes(f"{with_other_step(QUEUE)}\n{SCHEDULE}")
    program = reader.starts_the_app()

    program.wait_for_line("I am a scheduled workflow", times=5)
    reader.presses_ctrl_c(program)

    currently = re.compile("currently (.*)\\.")
    times = sorted(
        datetime.fromisoformat(*currently.findall(line)) for line in printed(program)
    )  # a late one may overtake
    assert len(times) == "".join(program.stdout).count("I am a scheduled workflow.") >= 5, program.report()
    assert times == [times[0] + timedelta(seconds=n) for n in range(len(times))]


def test_every_program_after_the_other_in_one_folder(reader: Reader) -> None:
    """As the reader does: the database has the unfinished work of programs that main.py no longer is."""
    reader.initializes()
    reader.writes(STEPS)
    assert reader.runs("python3", "main.py").wait(60) == 0

    reader.writes(HTTP)
    program = reader.starts_the_app()
    reader.visits_the_page()
    program.wait_for_line(re.escape(PRESS))
    reader.presses_ctrl_c(program)

    reader.writes(f"{with_other_step(QUEUE)}\n{SCHEDULE}")
    program = reader.starts_the_app()
    reader.visits_the_page()
    program.wait_for_line("Step 1 completed!")
    program.wait_for_line("I am a scheduled workflow", times=2)
    reader.presses_ctrl_c(program)

    others = [line for line in program.stderr if "Unfinished work that no live executor can run: 1 of version" in line]
    assert len(others) == 1, program.report()
    assert not {PRESS, "Step one completed!", "Step two completed!"} & set(program.stdout)
