"""`make demo`: the first program, then a workflow killed with kill -9 in the middle that resumes where it was.

Uses an embedded Postgres in a temporary folder and removes both. Exit status 0 only if the workflow really resumed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE_SECONDS = 120.0


class DemoError(Exception):
    """The demo did not show what it is to show."""


def say(text: str = "") -> None:
    print(text, flush=True)


def environment() -> dict[str, str]:
    """Without the database the caller's shell may point at: the demo wants one of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBOS_", "PYENGINE_", "PG"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(program: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(program)],
        cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the program prints, shown indented; ends with the program."""
    assert process.stdout is not None
    for line in process.stdout:
        say(f"    {line.rstrip()}")
        yield line.rstrip()


def first_program(folder: Path) -> None:
    say("1. The first program: a workflow of two steps, durable in a private Postgres.")
    say()
    with running(ROOT / "examples" / "01_first_workflow" / "main.py", folder) as process:
        printed = list(lines(process))
        if process.wait(PATIENCE_SECONDS) != 0 or "The bread is delivered." not in printed:
            raise DemoError("the first program did not run to its end")
    say()


def crash(folder: Path) -> None:
    say("2. A journey in four steps. It is killed with kill -9 while it sleeps after the second one.")
    say()
    with running(HERE / "main.py", folder) as process:
        if not any(line == "booked: hotel" for line in lines(process)):
            raise DemoError("the journey did not get as far as its second step")
        time.sleep(0.5)  # the step's result is recorded, the workflow sleeps
        process.kill()
        process.wait()
    say(f"    [kill -9 {process.pid}]")
    say()


def resume(folder: Path) -> None:
    say("3. The same program again. The journey resumes after its last finished step: nothing is booked twice.")
    say()
    begun = time.monotonic()
    with running(HERE / "main.py", folder) as process:
        printed = list(lines(process))
        status = process.wait(PATIENCE_SECONDS)
    seconds = time.monotonic() - begun
    booked = [line for line in printed if line.startswith("booked: ")]
    if status != 0 or "result: flight, hotel, car, concert" not in printed:
        raise DemoError("the journey did not reach its end after the restart")
    if booked != ["booked: car", "booked: concert"]:
        raise DemoError(f"after the restart only car and concert were to be booked, but: {booked}")
    say()
    say(f"It did: flight and hotel were booked before the crash, car and concert after it ({seconds:.1f} s).")


def remove(folder: Path) -> None:
    # The private server stops by itself a moment after its last user; its data may be outside of the folder.
    sys.path.insert(0, str(ROOT))
    from pyengine import embedded

    embedded.remove(folder)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="pyengine-demo-"))
    try:
        first_program(folder)
        crash(folder)
        resume(folder)
    except DemoError as error:
        say()
        say(f"The demo failed: {error}. Its lines above say more.")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        remove(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
