"""Probes of a real worker: over HTTP, and by the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from typing import Any

import pytest

from plugins.fleet import Facts
from plugins.processes import Processes, Program

pytestmark = pytest.mark.e2e

MODULE = """
from pyengine import DBOS, Queue

queue = Queue("work")

@DBOS.workflow()
def work(number: int) -> int:
    return number
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_worker(processes: Processes, url: str, address: str, *options: str, number: int = 1) -> Program:
    (processes.folder / "work.py").write_text(MODULE)
    return processes.module(
        "pyengine", "worker", "work", "--name", "test-app", "--processes", str(number), "--health", address, *options,
        env={"DBOS_SYSTEM_DATABASE_URL": url},
    )  # fmt: skip


def ask(address: str, question: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://{address}/{question}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def wait_until_ready(processes: Processes, address: str, *, is_ready: bool = True) -> Program:
    """By the command, as a container's probe does; the last one that ran."""
    for _ in range(200):
        program = processes.module("pyengine", "health", env={"PYENGINE_HEALTH": address})
        if (program.wait() == 0) is is_ready:
            return program
    raise AssertionError(program.report())


def test_a_worker_answers_from_its_first_moment_to_its_drain(processes: Processes, database_url: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    worker = start_worker(processes, database_url, address, number=2)

    assert wait_until_ready(processes, address).stdout[0].startswith("ready")
    status, told = ask(address, "ready")
    assert (status, told["live"], told["ready"]) == (200, True, True)
    assert ask(address, "live")[0] == 200
    assert ask(address, "else")[0] == 404
    worker.terminate()

    assert worker.wait() == 0
    gone = processes.module("pyengine", "health", address, "--live")
    assert (gone.wait(), gone.stderr[0][:29]) == (1, f"Error: no worker answers at {address}"[:29])


def test_a_killed_warden_is_replaced_behind_the_same_port(
    processes: Processes, database_url: str, facts: Facts
) -> None:
    address = f"127.0.0.1:{free_port()}"
    worker = start_worker(processes, database_url, address)
    wait_until_ready(processes, address)
    first = next(iter(children(worker.pid)))

    os.kill(first, signal.SIGKILL)
    worker.wait_for_line(rf"warden \(process {first}\)")

    # Not refused in between: the port is the supervisor's.
    assert ask(address, "live")[0] == 200
    wait_until_ready(processes, address)


def test_a_database_that_is_away_makes_it_unready_and_leaves_it_alive(processes: Processes) -> None:
    address, nowhere = f"127.0.0.1:{free_port()}", free_port()
    start_worker(processes, f"postgresql://postgres@127.0.0.1:{nowhere}/none", address)
    program = wait_until_answered(processes, address)

    assert program.stdout == ["not ready; no executor process has launched"]
    assert ask(address, "live")[0] == 200


def wait_until_answered(processes: Processes, address: str) -> Program:
    for _ in range(200):
        program = processes.module("pyengine", "health", address)
        program.wait()
        if program.stdout:
            return program
    raise AssertionError(program.report())


def test_the_lease_of_a_worker_cut_off_from_its_database_runs_out_for_probes(
    processes: Processes, own_database_url: str, own_cluster: Any
) -> None:
    address = f"127.0.0.1:{free_port()}"
    url = own_database_url
    (processes.folder / "dbos-config.yaml").write_text("name: test-app\nlanguage: python\n")
    (processes.folder / "work.py").write_text(MODULE + 'DBOS(config={"name": "test-app", "lease_ttl_seconds": 1.0})\n')
    processes.module(
        "pyengine", "worker", "work.py", "--processes", "1", "--health", address,
        env={"DBOS_SYSTEM_DATABASE_URL": url},
    )  # fmt: skip
    wait_until_ready(processes, address)

    own_cluster.stop()
    program = wait_until_ready(processes, address, is_ready=False)

    assert program.stdout == ["not ready; no executor holds its lease: Postgres was not reached for as long"]
    assert ask(address, "live")[0] == 200
    own_cluster.start()
    wait_until_ready(processes, address)


def test_a_port_that_is_taken_is_told_before_anything_runs(processes: Processes, database_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        worker = start_worker(processes, database_url, f"127.0.0.1:{taken.getsockname()[1]}")

        assert worker.wait() == 1
    assert "probes cannot be answered at 127.0.0.1" in worker.stderr[-1]


def test_an_address_that_is_none_is_a_usage_error(processes: Processes, database_url: str) -> None:
    worker = start_worker(processes, database_url, "8090")

    assert worker.wait() == 2
    assert "127.0.0.1:8090" in worker.report()


def children(pid: int) -> list[int]:
    """The oldest first: the warden is the first."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return sorted(int(text) for text in file.read().split())
