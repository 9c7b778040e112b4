"""How a fleet starts: what is refused, what is named, how processes come into being and when they are renewed."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from .conftest import HEAD, Worker

FLOW = """
@DBOS.workflow(name="flow")
def flow(n):
    say("flow", n, os.getpid())
    return n
"""


def pids_said(worker: Worker) -> list[str]:
    return [line.split()[2] for line in worker.program.stdout if line.startswith("flow ")]


def test_spawned_children_run_and_are_replaced_as_forked_ones(worker: Worker) -> None:
    worker.start(FLOW, env={"PYENGINE_START_METHOD": "spawn"})
    worker.program.wait_for_line("started by spawn")
    worker.enqueue("one", "flow", 1)
    worker.facts.wait_for("one")

    victim = worker.pids()[0]
    os.kill(victim, signal.SIGKILL)

    assert worker.death(victim)[0] == "child_died"
    worker.wait_until_up(2)
    worker.program.terminate()
    assert worker.program.wait() == 0
    assert worker.facts.all("select distinct dead_reason from pyengine.executors order by 1") == [
        "child_died",
        "retired",
    ]


def test_spawned_children_of_a_killed_parent_hand_back_and_end(worker: Worker) -> None:
    worker.start(FLOW, "--start-method", "spawn")

    worker.program.kill()

    worker.facts.wait("select count(*) = 2 from pyengine.executors where dead_reason = 'retired'")


def test_what_is_opened_at_import_is_named_once(worker: Worker) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        port = listener.getsockname()[1]
        worker.start(f"""
import socket
opened = socket.create_connection(("127.0.0.1", {port}))
threading.Thread(target=time.sleep, args=(600,), name="my-thread", daemon=True).start()
""")
    line = worker.program.wait_for_line("Importing app opened").text

    assert "a thread (my-thread)" in line
    assert f"a connection to 127.0.0.1:{port}" in line
    assert sum("Importing app opened" in line for line in worker.program.stderr) == 1


def test_an_ordinary_module_is_not_warned_of(worker: Worker) -> None:
    worker.start(FLOW + "\nimport asyncio\nasyncio.run(asyncio.sleep(0))\n")
    worker.enqueue("one", "flow", 1)
    worker.facts.wait_for("one")

    assert [line for line in worker.program.stderr if "WARNING" in line] == []


def test_a_launch_at_import_is_refused(worker: Worker) -> None:
    worker.start("DBOS.launch()", is_up=False)

    assert worker.program.wait() == 1
    assert 'under `if __name__ == "__main__":`' in worker.program.report()
    assert sum("DBOS.launch()" in line for line in worker.program.stderr) == 1  # said once, not by each process


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("raise SystemExit(3)", "ended while it was imported, with exit status 3"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_imported_ends_the_worker(worker: Worker, source: str, told: str) -> None:
    worker.start(source, is_up=False)

    assert worker.program.wait() == 1
    assert told in worker.program.report()


def test_a_missing_module_is_told_in_one_line(worker: Worker) -> None:
    program = worker._processes.module("pyengine", "worker", "nowhere", "-n", "1", "--dev")

    assert program.wait() == 1
    program.wait_for_line("there is no module 'nowhere'")
    assert not any("Traceback" in line for line in program.stderr)


def test_a_database_that_is_not_configured_is_refused_without_dev(worker: Worker) -> None:
    worker.start(FLOW, is_up=False, env={"TEST_URL": ""})

    assert worker.program.wait() == 1
    worker.program.wait_for_line("no database is configured.*--dev takes the embedded Postgres")
    assert not (worker.folder / ".pyengine").exists()


def test_the_database_can_be_given_on_the_command_line(worker: Worker) -> None:
    worker.start(FLOW, "--sys-db-url", worker.database_url, env={"TEST_URL": ""})

    assert len(worker.pids()) == 2


def test_only_the_queues_that_are_named_are_claimed(worker: Worker) -> None:
    worker.start(FLOW + '\nother = Queue("other")\n', "--queues", "other", processes=1)
    worker.enqueue("left", "flow", 1, queue="work")
    worker.enqueue("taken", "flow", 2, queue="other")
    worker.enqueue("internal", "flow", 3, queue="_dbos_internal_queue")

    worker.facts.wait_for("taken")
    worker.facts.wait_for("internal")
    assert worker.facts.status("left") == "ENQUEUED"
    worker.give_up("left")


def test_a_queue_that_is_not_declared_is_refused(worker: Worker) -> None:
    worker.start(FLOW, "--queues", "wrok", is_up=False)

    assert worker.program.wait() == 1
    worker.program.wait_for_line("wrok is not declared.*work")


def test_the_name_of_the_command_line_goes_first(worker: Worker) -> None:
    worker.start(FLOW, "--name", "other-app", processes=1)

    assert worker.facts.all("select application from pyengine.executors") == ["other-app"]


def test_a_function_that_is_named_declares_what_there_is(worker: Worker) -> None:
    worker.write(
        """
def declare():
    @DBOS.workflow(name="flow")
    def flow(n):
        return n
"""
    )
    program = worker._processes.module(
        "pyengine", "worker", "app:declare", "-n", "1", env={"TEST_URL": worker.database_url}
    )
    worker.program = program
    worker.wait_until_up(1)
    worker.enqueue("one", "flow", 1)

    worker.facts.wait_for("one")


def test_a_file_can_be_given_instead_of_a_module(worker: Worker) -> None:
    worker.write(FLOW, name="a-file.py", head=HEAD)
    worker.program = worker._processes.module(
        "pyengine", "worker", "a-file.py", "-n", "1", env={"TEST_URL": worker.database_url}
    )
    worker.wait_until_up(1)
    worker.enqueue("one", "flow", 1)

    worker.facts.wait_for("one")


def test_children_are_renewed_after_so_many_tasks(worker: Worker) -> None:
    worker.start(FLOW, "--max-tasks", "3", processes=1)

    for number in range(12):
        worker.enqueue(f"one-{number}", "flow", number)
        worker.facts.wait_for(f"one-{number}")

    worker.program.wait_for_line("Recycling executor 1")
    worker.facts.wait("select count(*) >= 2 from pyengine.executors")
    assert worker.facts.all("select distinct status, attempts from pyengine.outcomes") == [("SUCCESS", 1)]
    assert worker.facts.all("select distinct dead_reason from pyengine.executors where dead_at is not null") == [
        "retired"
    ]


def test_children_that_grow_too_large_are_renewed(worker: Worker) -> None:
    worker.start(
        """
kept = []

@DBOS.workflow(name="flow")
def flow(n):
    if n:
        kept.append(b"x" * 400_000_000)
    return n
""",
        "--max-rss",
        "300",
        processes=1,
    )
    (before,) = worker.pids()
    worker.enqueue("one", "flow", 1)

    assert worker.death(before)[0] == "retired"
    worker.wait_until_up(1)
    worker.enqueue("two", "flow", 0)
    worker.facts.wait_for("two")
