"""Ctrl-C and restart under a real server: the app ends within about a second, and the workflow goes on afterwards."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from plugins.processes import Processes, Program

pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

# What the issue asks for is about a second; a busy machine takes its share on top.
ABOUT_A_SECOND = 2.5

APP = """
import asyncio, time
from fastapi import FastAPI
from pyengine import DBOS

app = FastAPI()
DBOS(fastapi=app, config={"name": "shop"})

def say(text):
    print(text, flush=True)

@DBOS.step()
def note(what):
    say(f"step {what}")

@DBOS.step()
def slow_step():
    say("slow step begins")
    time.sleep(4)
    say("slow step ends")

@DBOS.step()
async def blocking_step():
    say("slow step begins")
    time.sleep(4)
    say("slow step ends")

@app.get("/sleep")
@DBOS.workflow()
def sleeping():
    note("one")
    DBOS.sleep(2)
    note("two")

@app.get("/sleep_async")
@DBOS.workflow()
async def sleeping_async():
    note("one")
    await DBOS.sleep_async(2)
    note("two")

@app.get("/step")
@DBOS.workflow()
def in_a_step():
    note("one")
    slow_step()
    note("two")

@app.get("/step_async")
@DBOS.workflow()
async def in_an_async_step():
    note("one")
    await blocking_step()
    note("two")

@DBOS.workflow()
def child():
    DBOS.sleep(2)
    return "child's result"

@app.get("/result")
@DBOS.workflow()
def waiting():
    note("one")
    DBOS.start_workflow(child).get_result()
    note("two")
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = probe.getsockname()[1]
        assert isinstance(found, int)
        return found


class Shop:
    def __init__(self, processes: Processes, database_url: str, port: int) -> None:
        self._processes = processes
        self._environment = {"DBOS_SYSTEM_DATABASE_URL": database_url}
        self._port = port
        (processes.folder / "shop.py").write_text(APP)

    def start(self, *options: str) -> Program:
        program = self._processes.module(
            "uvicorn", "shop:app", "--port", str(self._port), *options, env=self._environment
        )
        program.wait_for_line("Application startup complete")
        return program

    def visit(self, path: str) -> None:
        """Ask without waiting for the answer, which may never come."""
        threading.Thread(target=self._get, args=(path,), daemon=True).start()

    def _get(self, path: str) -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(urllib.error.HTTPError):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=20).close()
                except urllib.error.URLError as error:
                    if isinstance(error.reason, ConnectionRefusedError):
                        time.sleep(0.05)
                        continue
                except OSError:
                    return
            return


@pytest.fixture
def shop(processes: Processes, database_url: str, port: int) -> Shop:
    return Shop(processes, database_url, port)


def press_ctrl_c(program: Program) -> float:
    pressed_at = time.monotonic()
    program.interrupt()
    program.wait(10)
    return time.monotonic() - pressed_at


@pytest.mark.parametrize("path", ["sleep", "sleep_async", "result"])
def test_a_request_that_waits_in_the_engine_is_broken_off_and_resumed(shop: Shop, path: str) -> None:
    program = shop.start()
    shop.visit(path)
    program.wait_for_line("step one")
    time.sleep(0.3)

    assert press_ctrl_c(program) < ABOUT_A_SECOND
    assert "step two" not in program.stdout
    assert "Traceback" not in program.report()

    again = shop.start()
    again.wait_for_line("step two", timeout_seconds=10)
    assert "step one" not in again.stdout
    press_ctrl_c(again)


@pytest.mark.parametrize("path", ["step", "step_async"])
def test_a_running_step_is_abandoned_and_run_again(shop: Shop, path: str) -> None:
    program = shop.start()
    shop.visit(path)
    program.wait_for_line("slow step begins")

    assert press_ctrl_c(program) < ABOUT_A_SECOND
    assert program.process.returncode == 130
    assert "slow step ends" not in program.stdout
    assert "Traceback" not in program.report()

    again = shop.start()
    again.wait_for_line("step two", timeout_seconds=15)
    assert "step one" not in again.stdout
    press_ctrl_c(again)


def test_kill_9_and_a_restart_on_the_same_host_resume_within_two_seconds(shop: Shop) -> None:
    program = shop.start()
    shop.visit("step")
    program.wait_for_line("slow step begins")
    program.kill()

    again = shop.start()
    launched = again.wait_for_line("DBOS launched")
    resumed = again.wait_for_line("slow step begins")

    assert resumed.at - launched.at < 2
    press_ctrl_c(again)


def test_sigterm_lets_the_request_end(shop: Shop) -> None:
    program = shop.start()
    shop.visit("sleep")
    program.wait_for_line("step one")

    program.signal(signal.SIGTERM)

    program.wait(15)
    assert "step two" in program.stdout


def test_two_server_processes_end_as_fast(shop: Shop) -> None:
    program = shop.start("--workers", "2")
    program.wait_for_line("Application startup complete", times=2)
    shop.visit("sleep")
    program.wait_for_line("step one")

    assert press_ctrl_c(program) < ABOUT_A_SECOND + 0.5
    assert "step two" not in program.stdout
