"""Workflows that wait inside user code until the test lets them go."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest


class Gate:
    """Workflows that wait inside user code until the test lets them go; counts how many are inside at a time."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._lock = threading.Lock()
        self.entered: list[Any] = []
        self.inside = 0
        self.most = 0

    def pass_through(self, what: Any) -> None:
        with self._lock:
            self.entered.append(what)
            self.inside += 1
            self.most = max(self.most, self.inside)
        self._opened.wait(60)
        with self._lock:
            self.inside -= 1

    def wait_for(self, count: int, timeout_seconds: float = 30) -> None:
        until = time.monotonic() + timeout_seconds
        while len(self.entered) < count:
            assert time.monotonic() < until, f"{len(self.entered)} of {count} began"
            time.sleep(0.01)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Any:
    made = Gate()
    yield made
    made.open()
