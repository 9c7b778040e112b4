"""What a process has taken on: its runs by claim, and how much more it should claim."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .run import Run

# Runs that are busy with user code. Those that wait in the engine (asleep, or for another workflow) do not
# count: a parent waiting for its children must never keep them from being claimed.
MAX_BUSY = 256


class Load:
    def __init__(self, on_room: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._on_room = on_room
        self._running = 0
        self._waiting = 0
        self._is_starved = False

    def room(self) -> int:
        """How many more workflows may be claimed now. After a 0, `on_room` is called once there is room again."""
        with self._lock:
            room = MAX_BUSY - self._running + self._waiting
            self._is_starved = room <= 0
            return max(0, room)

    def running(self, change: int) -> None:
        self._change(change, 0)

    def waiting(self, change: int) -> None:
        self._change(0, change)

    def _change(self, running: int, waiting: int) -> None:
        with self._lock:
            self._running += running
            self._waiting += waiting
            has_room = self._is_starved and self._running - self._waiting < MAX_BUSY
            if has_room:
                self._is_starved = False
        if has_room:
            self._on_room()


class Runs:
    """The runs of this process, keyed by (workflow id, fence). What is here is held: a beat tells the database of
    their fences.
    """

    def __init__(self, load: Load, on_end: Callable[[Run], None]) -> None:
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, int], Run] = {}
        self._fences: dict[str, set[int]] = {}
        self._load = load
        self._on_end = on_end

    def add(self, run: Run) -> bool:
        key = (run.workflow_id, run.fence)
        with self._lock:
            if key in self._runs:
                return False
            self._runs[key] = run
            self._fences.setdefault(run.workflow_id, set()).add(run.fence)
        self._load.running(+1)
        return True

    def remove(self, run: Run) -> None:
        with self._lock:
            if self._runs.pop((run.workflow_id, run.fence), None) is None:
                return
            fences = self._fences[run.workflow_id]
            fences.discard(run.fence)
            if not fences:
                del self._fences[run.workflow_id]
        self._load.running(-1)
        self._on_end(run)

    def get(self, workflow_id: str, fence: int) -> Run | None:
        return self._runs.get((workflow_id, fence))

    def holds(self, workflow_id: str) -> bool:
        return workflow_id in self._fences

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())

    def fences(self) -> list[int]:
        with self._lock:
            return list({fence for _, fence in self._runs})
