"""How a measured program and the suite talk: one line of JSON each. Standard library only: peers' environments run it.

A program is called as `python PROGRAM [ENGINE] COMMAND URL OPTIONS`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

PAYLOAD = "x" * 64
WARM_SECONDS = 0.3


def run(commands: dict[str, Callable[..., Any]]) -> None:
    name, url, options = sys.argv[-3:]
    commands[name](url, **json.loads(options))
    # What a program leaves running (pools, listeners) is no part of the measurement.
    sys.stdout.flush()
    os._exit(0)


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def wait_for_go() -> None:
    """All processes of a cell begin together: each says that it is ready and is told when."""
    say(ready=True)
    sys.stdin.readline()


def wait_for_end() -> None:
    sys.stdin.read()


class Meter:
    """What calls took that ended after the warming up, and how many they were a second."""

    def __init__(self, seconds: float) -> None:
        self.begin = time.time() + WARM_SECONDS
        self.end = self.begin + seconds
        self.took: list[float] = []
        self.cpu_before: float | None = None

    def goes_on(self) -> bool:
        return time.time() < self.end

    def note(self, began: float) -> None:
        now = time.time()
        if now >= self.begin:
            if self.cpu_before is None:
                self.cpu_before = time.process_time()
            if now <= self.end:
                self.took.append(now - began)

    def facts(self) -> dict[str, Any]:
        cpu = time.process_time() - (self.cpu_before or 0.0)
        return {"count": len(self.took), "begin": self.begin, "end": self.end, "cpu": cpu, **quantiles(self.took)}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    return {
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


class Floor:
    """The bare one-row INSERT commit through psycopg that everything is compared with, on a connection of its own."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        self.cursor = self.connection.cursor()
        self.cursor.execute(
            "create table if not exists bench_floor"
            " (id bigint generated always as identity primary key, payload text not null)"
        )
        self.took: list[float] = []

    def insert(self) -> None:
        began = time.perf_counter()
        self.cursor.execute("insert into bench_floor (payload) values (%s)", (PAYLOAD,))
        self.took.append(time.perf_counter() - began)
