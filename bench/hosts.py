"""Simulated hosts: what runs there has, as far as the engine sees, a machine and a link to the server of its own.

Where root allows, the machines are those of the chaos tests: a network namespace, a host name and a boot id each, so
that no executor can vouch for one of another host. Elsewhere they share those. The link delays either way.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.program import Process
from bench.report import quantile
from bench.stage import at, place

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

DELAY_SECONDS = 0.00025  # each way: half a millisecond there and back, as between zones of a data centre
FORWARDER = Path(__file__).with_name("programs") / "far_link.py"


@dataclass(frozen=True)
class Host:
    url: str  # of the database, by its own link
    prefix: tuple[str, ...]  # what runs a command there, as the same process
    note: str

    def command(self, *words: str) -> tuple[str, ...]:
        return (*self.prefix, *words)


@contextmanager
def hosts(count: int, url: str) -> Iterator[list[Host]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyengine-hosts-")))
        machines = stack.enter_context(_machines(count, folder))
        made = []
        for address, prefix in machines:
            forwarder = stack.enter_context(
                Process(
                    "link",
                    (sys.executable, str(FORWARDER), address, *map(str, place(url)), str(DELAY_SECONDS)),
                    own=True,
                )
            )
            far = at(url, address, int(forwarder.wait("port")["port"]))
            own = "name and boot id of their own" if prefix else "NO identity of their own: that takes root"
            took = f"a round trip to the server takes {_round_trip(far) * 1000:.2f} ms instead of "
            took += f"{_round_trip(url) * 1000:.2f} ms"
            made.append(Host(far, prefix, f"hosts with {own}; {took}"))
        yield made


@contextmanager
def _machines(count: int, folder: Path) -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    """Where a link listens, and what runs a command behind it."""
    from plugins.chaos import network

    try:
        is_possible = network.has_namespaces()
    except (OSError, subprocess.SubprocessError):
        is_possible = False
    if not is_possible:
        yield [("127.0.0.1", ())] * count
        return
    with network.links(count, (), folder) as links:
        yield [(link.address, link.command()) for link in links]


def _round_trip(url: str) -> float:
    took = []
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(30):
            began = time.perf_counter()
            connection.execute("select")
            took.append(time.perf_counter() - began)
    return quantile(took, 0.5)
