"""Programs that start a fleet of their own: scripts, and an application under a web server."""

from __future__ import annotations

import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from plugins.fleet import Facts
from plugins.processes import Processes, Program

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("healthy")]

CONFIG = """
import os, threading, time
from pyengine import DBOS, Queue

CONFIG = {
    "name": "test-app",
    "system_database_url": os.environ["TEST_URL"],
    "executor_processes": 2,
}

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""
SCRIPT = (
    CONFIG
    + """
class Parcel:
    class Label:
        text = "fragile"

    def __init__(self, pid):
        self.pid = pid
        self.label = Parcel.Label()

@DBOS.step()
def where():
    return os.getpid()

@DBOS.workflow()
def pack(parcel):
    return Parcel(where())

@DBOS.workflow()
def endless(name):
    say("began", name, os.getpid())
    while True:
        DBOS.sleep(0.05)

def main():
    DBOS(config=CONFIG)
    queue = Queue("work")
    DBOS.launch()
    say("app", os.getpid())
    packed = queue.enqueue(pack, Parcel(0)).get_result()
    say("enqueued", packed.pid, packed.label.text)
    say("direct", pack(None).pid)
    return queue
"""
)
GUARD = """
if __name__ == "__main__":
    queue = main()
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], what: str, timeout_seconds: float = 60) -> None:
    until = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.02)


def wait_until_gone(pids: Iterable[int]) -> None:
    gone = list(pids)
    wait_until(lambda: not any(map(is_alive, gone)), f"the end of {gone}")


def said(program: Program, word: str) -> str:
    return program.wait_for_line(f"^{word} ", timeout_seconds=90).text.partition(" ")[2]


def members(facts: Facts) -> list[int]:
    """Processes of the fleet that the database takes for alive."""
    found: list[int] = facts.all("select pid from pyengine.executors where dead_at is null and is_supervised")
    return found


def start(processes: Processes, source: str, url: str, **env: str) -> Program:
    return processes.start(source, env={"TEST_URL": url, **env})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_script_runs_what_it_calls_and_its_fleet_what_is_enqueued(
    processes: Processes, database_url: str, facts: Facts, method: str
) -> None:
    source = SCRIPT + GUARD + "    say('members', *sys.argv)\n    input_done = wait_for_go()\n    DBOS.destroy()\n"
    source = "import sys\n" + source.replace(
        "def main()", "def wait_for_go():\n    while not os.path.exists('go'):\n        time.sleep(0.02)\n\ndef main()"
    )
    program = start(processes, source, database_url, PYENGINE_START_METHOD=method)

    app = int(said(program, "app"))
    pid, label = said(program, "enqueued").split()
    assert int(said(program, "direct")) == app
    assert (int(pid) != app, label) == (True, "fragile")
    program.wait_for_line(f"started by {method}")
    facts.wait("select count(*) = 2 from pyengine.executors where dead_at is null and is_supervised")
    pids = members(facts)
    assert int(pid) in pids
    assert app not in pids
    (processes.folder / "go").touch()

    assert program.wait() == 0, program.report()
    wait_until_gone(pids)
    assert facts.one("select count(*) from pyengine.executors where dead_at is null") == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_fleet_whose_program_is_gone_hands_back_and_ends(
    processes: Processes, database_url: str, facts: Facts, number: int
) -> None:
    source = SCRIPT + GUARD + "    queue.enqueue(endless, 'one')\n    threading.Event().wait()\n"
    program = start(processes, source, database_url)
    worker = int(said(program, "began").split()[1])
    pids = members(facts)
    assert worker in pids

    program.signal(number)
    program.wait()

    wait_until_gone(pids)
    facts.wait("select status = 'ENQUEUED' from pyengine.workflow_status where name = 'endless'")
    query = "select crashes from pyengine.in_flight join pyengine.workflows using (workflow_id) where name = 'endless'"
    assert facts.one(query) == 0
    facts.execute("select pyengine.cancel_workflow(workflow_id) from pyengine.in_flight")


def test_a_supervisor_that_was_killed_is_replaced(processes: Processes, database_url: str, facts: Facts) -> None:
    source = SCRIPT + GUARD + (
        "    while not os.path.exists('go'):\n        time.sleep(0.02)\n"
        "    say('again', queue.enqueue(pack, None).get_result().pid)\n    DBOS.destroy()\n"
    )  # fmt: skip
    program = start(processes, source, database_url)
    said(program, "direct")
    pids = members(facts)
    parent = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])

    processes.shell(f"kill -9 {parent}").wait()
    program.wait_for_line("supervisor of the executor processes ended")
    wait_until_gone(pids)
    (processes.folder / "go").touch()

    assert int(said(program, "again")) not in pids
    assert program.wait() == 0, program.report()


def test_a_program_that_launches_when_it_is_imported_is_told(processes: Processes, database_url: str) -> None:
    source = CONFIG + (
        "@DBOS.workflow()\ndef flow():\n    return 1\n\n"
        "DBOS(config=CONFIG)\nDBOS.launch()\nthreading.Event().wait()\n"
    )  # fmt: skip
    program = start(processes, source, database_url)

    program.wait_for_line(r"DBOS\.launch\(\) was called while .*main\.py was imported.*__main__")


def test_what_was_typed_in_has_no_module_to_import(processes: Processes, database_url: str) -> None:
    source = CONFIG + "@DBOS.workflow()\ndef flow():\n    return 1\n\nDBOS(config=CONFIG)\nDBOS.launch()\n"
    program = processes.run(sys.executable, "-c", source, env={"TEST_URL": database_url})

    assert program.wait() == 1
    assert "executor_processes needs the workflows in a module or a file" in program.report()


def test_a_package_that_is_run_by_name(processes: Processes, database_url: str) -> None:
    package = processes.folder / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "flows.py").write_text(SCRIPT)
    (package / "run.py").write_text(
        "from .flows import DBOS, main\n\nif __name__ == '__main__':\n    main()\n    DBOS.destroy()\n"
    )
    program = processes.module("shop.run", env={"TEST_URL": database_url})

    assert program.wait() == 0, program.report()
    assert said(program, "enqueued").split()[0] != said(program, "app")


def test_an_application_under_uvicorn(processes: Processes, database_url: str, facts: Facts) -> None:
    pytest.importorskip("uvicorn")
    (processes.folder / "flows.py").write_text(SCRIPT + "\nqueue = Queue('work')\n")
    (processes.folder / "web.py").write_text(
        "import os\nfrom fastapi import FastAPI\nfrom flows import CONFIG, DBOS, pack, queue\n\n"
        "app = FastAPI()\nDBOS(fastapi=app, config=CONFIG)\n\n"
        "@app.get('/')\ndef both():\n"
        "    return [os.getpid(), pack(None).pid, queue.enqueue(pack, None).get_result().pid]\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = processes.module("uvicorn", "web:app", "--port", str(port), env={"TEST_URL": database_url})
    program.wait_for_line("Uvicorn running")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        server, direct, enqueued = map(int, answer.read().decode().strip("[]").split(","))
    pids = members(facts)
    program.terminate()

    assert direct == server == program.pid
    assert enqueued != server
    assert enqueued in pids
    program.wait()
    wait_until_gone(pids)
    assert facts.one("select count(*) from pyengine.executors where dead_at is null") == 0
