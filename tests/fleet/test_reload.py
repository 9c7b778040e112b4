"""`pyengine worker --reload`: a change of the program starts it again."""

from __future__ import annotations

import signal

import pytest

from plugins.processes import Processes, Program

pytestmark = pytest.mark.e2e

APP = """
import os
from pyengine import DBOS

@DBOS.workflow()
def flow():
    return 1

os.write(1, b"imported: TEXT\\n")
"""


def write(processes: Processes, text: str, name: str = "app.py") -> None:
    # Another name first: nobody sees half a file.
    place = processes.folder / name
    place.with_suffix(".new").write_text(APP.replace("TEXT", text))
    place.with_suffix(".new").rename(place)


def start(processes: Processes, url: str) -> Program:
    return processes.module(
        "pyengine", "worker", "app", "--name", "test-app", "--processes", "1", "--reload",
        env={"DBOS_SYSTEM_DATABASE_URL": url},
    )  # fmt: skip


@pytest.mark.parametrize("means", ["watchfiles", "looking every"])
def test_a_change_starts_the_program_again(processes: Processes, database_url: str, means: str) -> None:
    if means == "watchfiles":
        pytest.importorskip("watchfiles")
    else:
        (processes.folder / "watchfiles.py").write_text("raise ImportError\n")
    write(processes, "one")
    worker = start(processes, database_url)
    worker.wait_for_line(f"Reloading .*{means}")
    worker.wait_for_line("^imported: one")
    worker.wait_for_line("DBOS launched")

    write(processes, "two")

    worker.wait_for_line(r"app\.py changed")
    worker.wait_for_line("^imported: two")
    worker.wait_for_line("DBOS launched", times=2)
    worker.terminate()
    assert worker.wait() == 0, worker.report()


def test_a_program_that_does_not_start_waits_for_its_next_change(processes: Processes, database_url: str) -> None:
    (processes.folder / "app.py").write_text("this is no Python\n")
    worker = start(processes, database_url)
    worker.wait_for_line("the next change starts it again")

    write(processes, "mended")

    worker.wait_for_line("^imported: mended")
    worker.wait_for_line("DBOS launched")
    worker.interrupt()
    assert worker.wait() == 0, worker.report()


def test_a_killed_reloader_leaves_nobody_behind(processes: Processes, database_url: str) -> None:
    write(processes, "one")
    worker = start(processes, database_url)
    worker.wait_for_line("DBOS launched")

    worker.signal(signal.SIGKILL)

    # Its output ends with the last of its processes, and not before.
    worker.wait()
    for reader in worker._readers:
        reader.join(60)
        assert not reader.is_alive(), worker.report()
