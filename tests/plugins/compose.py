"""The services of a compose file, as containers where a Docker engine answers, else its hosts as plain processes.

Containers are run with the engine's own command, since the plugin `docker compose` is not everywhere. In place of the
image that the file builds from a registry's, they get the Postgres image with this machine's Python mounted into it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from plugins import containers
from plugins.processes import Processes, Program

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "examples" / "deploy"
# This interpreter, whatever is installed where.
COMMANDS = {"pyengine": [sys.executable, "-m", "pyengine"], "python": [sys.executable, "-u"]}


def read(path: Path) -> dict[str, Any]:
    """The services, with `${NAME:-default}` as if no variable were set."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", path.read_text())
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def real(command: list[str]) -> list[str]:
    return [*COMMANDS.get(command[0], [command[0]]), *command[1:]]


def wait_until(condition: Callable[[], object], what: str, timeout_seconds: float = 90) -> None:
    until = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.1)


class Deployment(ABC):
    """Hosts by name: started, asked, told to end, or gone without a word."""

    def __init__(self, services: Mapping[str, Any]) -> None:
        self.hosts = {name: service for name, service in services.items() if name.startswith("host-")}

    @abstractmethod
    def up(self) -> None: ...

    @abstractmethod
    def down(self) -> None: ...

    @abstractmethod
    def execute(self, host: str, *command: str) -> Program:
        """A command on that host, as `compose exec` runs it."""

    @abstractmethod
    def kill(self, host: str) -> None:
        """As if its plug had been pulled."""

    @abstractmethod
    def stop(self, host: str) -> int:
        """As a deploy stops it; its exit status."""

    @abstractmethod
    def log(self) -> str: ...

    def is_well(self, host: str) -> bool:
        test = self.hosts[host]["healthcheck"]["test"]
        assert test[0] == "CMD"
        return self.execute(host, *test[1:]).wait() == 0

    def wait_until_well(self) -> None:
        for host in self.hosts:
            try:
                wait_until(lambda host=host: self.is_well(host), f"{host} is ready")  # type: ignore[misc]
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.log()}") from None


class ProcessDeployment(Deployment):
    """Each host a session of its own on this machine; Postgres is the test run's."""

    def __init__(self, services: Mapping[str, Any], processes: Processes, database_url: str) -> None:
        super().__init__(services)
        self._processes = processes
        self._url = database_url
        self._ports: dict[str, int] = {}
        self._programs: dict[str, Program] = {}

    def up(self) -> None:
        for name, service in self.hosts.items():
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._ports[name] = probe.getsockname()[1]
            self._programs[name] = self.execute(name, *service["command"])

    def execute(self, host: str, *command: str) -> Program:
        service = self.hosts[host]
        own = {"DBOS_SYSTEM_DATABASE_URL": self._url, "PYENGINE_HEALTH": f"127.0.0.1:{self._ports[host]}"}
        return self._processes.run(*real(list(command)), folder=APP, env={**service["environment"], **own})

    def kill(self, host: str) -> None:
        os.killpg(self._programs[host].pid, signal.SIGKILL)

    def stop(self, host: str) -> int:
        self._programs[host].terminate()
        return self._programs[host].wait()

    def log(self) -> str:
        return "\n".join(f"{name}: {program.report()}" for name, program in self._programs.items())

    def down(self) -> None:
        for program in self._programs.values():
            program.close()


class DockerDeployment(Deployment):
    def __init__(self, services: Mapping[str, Any], processes: Processes) -> None:
        super().__init__(services)
        self._services = services
        self._processes = processes
        self._run = f"pyengine-{secrets.token_hex(4)}"
        self._names: list[str] = []

    def up(self) -> None:
        self._docker("network", "create", self._run)
        self._start("postgres", self._services["postgres"], containers.image(), [])
        wait_until(lambda: self._health("postgres") == "healthy", "postgres is healthy")
        for name, service in self.hosts.items():
            assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
            mounts = dict.fromkeys(["/usr", sys.prefix, sys.base_prefix, str(ROOT)])
            options = [f"--volume={place}:{place}:ro" for place in mounts if not place.startswith("/usr/")]
            options += [f"--volume={APP}:/app:ro", "--workdir=/app", f"--env=PYTHONPATH={ROOT}", "--entrypoint="]
            options += ["--env=PYTHONDONTWRITEBYTECODE=1", "--stop-timeout=30"]
            self._start(name, service, containers.image(), options)

    def _start(self, name: str, service: Mapping[str, Any], image: str, options: list[str]) -> None:
        self._names.append(name)
        env = [f"--env={key}={value}" for key, value in service.get("environment", {}).items()]
        test = service["healthcheck"]["test"]
        health = [f"--health-cmd={shlex.join(real(test[1:]))}", "--health-interval=1s"]
        self._docker(
            "run", "--detach", f"--name={self._run}-{name}", f"--network={self._run}", f"--network-alias={name}",
            *env, *health, *options, image, *real(service["command"]) if "command" in service else (),
        )  # fmt: skip

    def _docker(self, *arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"docker {shlex.join(arguments)}: {done.stderr}"
        return done.stdout

    def _state(self, host: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._docker("inspect", f"{self._run}-{host}"))[0]["State"]
        return state

    def _health(self, host: str) -> str:
        health: str = self._state(host)["Health"]["Status"]
        return health

    def is_well(self, host: str) -> bool:
        return self._health(host) == "healthy"

    def execute(self, host: str, *command: str) -> Program:
        engine = {"DOCKER_HOST": os.environ["DOCKER_HOST"]} if "DOCKER_HOST" in os.environ else {}
        return self._processes.run("docker", "exec", f"{self._run}-{host}", *real(list(command)), env=engine)

    def kill(self, host: str) -> None:
        self._docker("kill", f"{self._run}-{host}")

    def stop(self, host: str) -> int:
        self._docker("stop", f"{self._run}-{host}")
        status: int = self._state(host)["ExitCode"]
        return status

    def log(self) -> str:
        return "\n".join(
            subprocess.run(
                ["docker", "logs", f"{self._run}-{name}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ).stdout
            for name in self._names
        )

    def down(self) -> None:
        for name in self._names:
            subprocess.run(["docker", "rm", "--force", "--volumes", f"{self._run}-{name}"], capture_output=True)
        subprocess.run(["docker", "network", "rm", self._run], capture_output=True)
