"""pg/compose.yaml: Postgres and three hosts, in containers where a Docker engine answers, else as processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins import compose, containers
from plugins.compose import Deployment
from plugins.processes import Processes
from plugins.server import KIND_VARIABLE

pytestmark = pytest.mark.e2e

FILE = Path(__file__).resolve().parents[2] / "pg" / "compose.yaml"


@pytest.fixture
def deployment(request: pytest.FixtureRequest, processes: Processes) -> Iterator[Deployment]:
    services = compose.read(FILE)
    # A run that insists on another server is not given an engine's time.
    if os.environ.get(KIND_VARIABLE, "testcontainers") == "testcontainers" and containers.engine_answers():
        made: Deployment = compose.DockerDeployment(services, processes)
    else:
        url = request.getfixturevalue("empty_database_url")
        made = compose.ProcessDeployment(services, processes, url)
    try:
        yield made
    finally:
        made.down()


def test_a_host_that_is_gone_costs_no_order_and_a_host_that_is_stopped_ends_well(deployment: Deployment) -> None:
    deployment.up()
    deployment.wait_until_well()

    client = deployment.execute("host-1", "python", "orders.py", "60")
    wait = "shipped: parcel"
    compose.wait_until(lambda: wait in deployment.log() or wait in client.report(), "the first order")
    deployment.kill("host-2")

    assert client.wait(120) == 0, f"{client.report()}\n{deployment.log()}"
    assert "fulfilled: 60" in client.stdout
    assert deployment.stop("host-3") == 0, deployment.log()
    found = deployment.execute("host-1", "pyengine", "doctor")
    assert found.wait() == 0, found.report()


def test_the_hosts_differ_in_nothing_but_their_name() -> None:
    services = compose.read(FILE)
    hosts = [service for name, service in services.items() if name != "postgres"]

    assert [name for name in services if name != "postgres"] == ["host-1", "host-2", "host-3"]
    assert hosts[0] == hosts[1] == hosts[2]


def test_a_host_has_more_time_to_stop_than_its_steps_have_to_end() -> None:
    service: dict[str, Any] = compose.read(FILE)["host-1"]
    command = service["command"]

    assert float(service["stop_grace_period"].removesuffix("s")) > float(command[command.index("--grace") + 1])


def test_compose_understands_the_file() -> None:
    try:
        done = subprocess.run(["docker", "compose", "version"], capture_output=True)
    except OSError:
        pytest.skip("there is no docker command")
    if done.returncode:
        pytest.skip("docker compose is not installed")
    checked = subprocess.run(
        ["docker", "compose", "-f", str(FILE), "config", "--quiet"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
