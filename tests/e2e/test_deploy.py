"""The files of examples/deploy: they parse, they fit together, and what they run is there."""

from __future__ import annotations

import configparser
import os
import pwd
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from plugins.fleet import Facts
from plugins.processes import Processes
from pyengine.cli.main import app

pytestmark = pytest.mark.e2e

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "deploy"


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def named(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name)


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def unit() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(FOLDER / "pyengine-worker.service")
    return parsed


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_every_manifest_has_what_the_cluster_asks_for(manifests: list[dict[str, Any]]) -> None:
    assert all({"apiVersion", "kind", "metadata", "spec"} <= each.keys() for each in manifests)
    for each in manifests:
        if each["kind"] == "Deployment":
            assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
    labels = [
        each["spec"]["template"].get("metadata", {}).get("labels") for each in manifests if "template" in each["spec"]
    ]
    for each in manifests:
        if each["kind"] == "Service":
            assert each["spec"]["selector"] in labels
        if each["kind"] == "PodDisruptionBudget":
            assert each["spec"]["selector"]["matchLabels"] in labels


def test_pods_have_more_time_to_end_than_their_steps(manifests: list[dict[str, Any]]) -> None:
    workers = named(manifests, "Deployment", "orders-workers")
    grace = float(option(container(workers)["command"], "--grace"))

    assert workers["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > grace + 5


def test_probes_ask_where_the_worker_answers(manifests: list[dict[str, Any]]) -> None:
    worker = container(named(manifests, "Deployment", "orders-workers"))
    env = {each["name"]: each.get("value") for each in worker["env"]}
    ports = {each["name"]: each["containerPort"] for each in worker["ports"]}

    assert env["PYENGINE_HEALTH"].rpartition(":")[2] == str(ports["health"])
    assert worker["livenessProbe"]["httpGet"] == {"path": "/live", "port": "health"}
    assert worker["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "health"}


def test_a_pod_behind_a_service_waits_before_it_ends(manifests: list[dict[str, Any]]) -> None:
    web = container(named(manifests, "Deployment", "orders-web"))

    assert web["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"
    assert "lifecycle" not in container(named(manifests, "Deployment", "orders-workers"))


def commands() -> list[list[str]]:
    """Every `pyengine …` that a file of the folder runs."""
    parsed = [container(each)["command"] for each in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
              if each["kind"] in ("Job", "Deployment")]  # fmt: skip
    image = next(line for line in (FOLDER / "Dockerfile").read_text().splitlines() if line.startswith("CMD "))
    parsed += [yaml.safe_load(image.removeprefix("CMD ")), unit()["Service"]["ExecStart"].split()]
    return [command for command in parsed if command[0].endswith("pyengine")]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_one_that_exists(command: list[str]) -> None:
    known = get_command(app).commands[command[1]]  # type: ignore[attr-defined]

    known.make_context(command[1], list(command[2:]), resilient_parsing=False)


def test_the_unit_lets_the_supervisor_end_its_processes() -> None:
    service = unit()["Service"]

    assert service["KillMode"] == "mixed"
    assert service["OOMPolicy"] == "continue"
    assert float(service["TimeoutStopSec"]) > float(option(service["ExecStart"].split(), "--grace")) + 5


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (FOLDER / "pyengine-worker.service").read_text()
    # What is the reader's: a path and a user of this machine instead.
    text = text.replace("/srv/orders/.venv/bin/pyengine", sys.executable)
    text = text.replace("User=orders", f"User={pwd.getpwuid(os.getuid()).pw_name}")
    place = tmp_path / "pyengine-worker.service"
    place.write_text(text)

    checked = subprocess.run(["systemd-analyze", "verify", str(place)], capture_output=True, text=True)

    ours = [line for line in checked.stderr.splitlines() if place.name in line]
    assert ours == [], checked.stderr


def test_the_pooler_pools_transactions() -> None:
    parsed = configparser.ConfigParser(comment_prefixes=(";",), interpolation=None)
    parsed.read(FOLDER / "pgbouncer.ini")

    assert parsed["pgbouncer"]["pool_mode"] == "transaction"
    assert parsed["databases"]["orders"]


def test_the_image_has_what_it_runs() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    copied = [name for line in text.splitlines() if line.startswith("COPY examples") for name in line.split()[1:-1]]

    assert sorted(copied) == ["examples/deploy/orders.py", "examples/deploy/web.py"]
    assert all((FOLDER.parents[1] / name).exists() for name in copied)


def test_orders_placed_over_http_are_fulfilled_by_workers(
    processes: Processes, database_url: str, facts: Facts
) -> None:
    pytest.importorskip("uvicorn")
    env = {"DBOS_SYSTEM_DATABASE_URL": database_url}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes.module("pyengine", "worker", "orders", "--name", "orders", "-n", "1", folder=FOLDER, env=env)
    web = processes.module("uvicorn", "web:app", "--port", str(port), folder=FOLDER, env=env)
    web.wait_for_line("Uvicorn running")

    request = urllib.request.Request(f"http://127.0.0.1:{port}/orders/17", method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200

    facts.wait("select bool_and(status = 'SUCCESS') from pyengine.workflow_status where name = 'fulfil'")


def test_help_tells_of_every_option_that_the_files_use() -> None:
    shown = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": "200"}).output

    assert all(each in shown for command in commands() if command[1] == "worker" for each in command if "--" in each)
