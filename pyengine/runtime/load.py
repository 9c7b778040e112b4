"""What a process has taken on: its runs by claim, and how much more it should claim."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from .run import Run

# Runs that are busy with user code. Those that wait in the engine (asleep, or for another workflow) do not
# count: a parent waiting for its children must never keep them from being claimed.
MAX_BUSY = 256


class Load:
    """Counts claimed runs that are busy, and says how many more may be claimed."""

    def __init__(
        self, on_room: Callable[[], None], max_threads: int | None = None, *, max_busy: int = MAX_BUSY
    ) -> None:
        self._max_busy = max_busy
        self._lock = threading.Lock()
        self._on_room = on_room
        self._max_threads = max_threads
        self._busy = 0
        self._busy_threads = 0
        self._is_starved = False
        # Not for one at a time: a claim costs about the same for one workflow as for many. The tick looks anyway.
        self._worth_a_claim = max(1, min(max_busy, max_threads or max_busy) // 4)

    def room(self) -> int:
        """How many more workflows may be claimed now. After a 0, `on_room` is called once there is room again."""
        with self._lock:
            room = self._room()
            self._is_starved = room <= 0
            return max(0, room)

    def change(self, by: int, *, needs_thread: bool) -> None:
        """So many runs more, or less, are busy."""
        with self._lock:
            self._busy += by
            if needs_thread:
                self._busy_threads += by
            has_room = self._is_starved and self._room() >= self._worth_a_claim
            if has_room:
                self._is_starved = False
        if has_room:
            self._on_room()

    def _room(self) -> int:
        room = self._max_busy - self._busy
        return room if self._max_threads is None else min(room, self._max_threads - self._busy_threads)


class Runs:
    """The runs of this process, keyed by (workflow id, fence). What is here is held: a beat tells the database of
    their fences.
    """

    def __init__(self, load: Load, on_end: Callable[[Run], None]) -> None:
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, int], Run] = {}
        self._fences: dict[str, set[int]] = {}
        self._broken_off: set[int] = set()
        self._load = load
        self._on_end = on_end

    def add(self, run: Run) -> bool:
        key = (run.workflow_id, run.fence)
        with self._lock:
            if key in self._runs:
                return False
            self._runs[key] = run
            self._fences.setdefault(run.workflow_id, set()).add(run.fence)
        self._load.change(+1, needs_thread=run.needs_thread)
        return True

    def remove(self, run: Run, *, is_over: bool = True) -> None:
        """`is_over` is False when the workflow is still ours but nothing runs it: it is to be run again."""
        with self._lock:
            if self._runs.pop((run.workflow_id, run.fence), None) is None:
                return
            fences = self._fences[run.workflow_id]
            fences.discard(run.fence)
            if not fences:
                del self._fences[run.workflow_id]
            if not is_over:
                self._broken_off.add(run.fence)
        self._load.change(-1, needs_thread=run.needs_thread)
        self._on_end(run)

    def get(self, workflow_id: str, fence: int) -> Run | None:
        return self._runs.get((workflow_id, fence))

    def holds(self, workflow_id: str) -> bool:
        return workflow_id in self._fences

    @property
    def count(self) -> int:
        return len(self._runs)

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs.values())

    def fences(self) -> list[int]:
        """The fences held. One of a claim of many, of which a run was broken off, is reported as not held: then the
        database tells of it, and `take_up` says which of its workflows are run.
        """
        with self._lock:
            return list({fence for _, fence in self._runs} - self._broken_off)

    def take_up(self, fences: Collection[int]) -> set[tuple[str, int]]:
        """Before the claims of these fences are read: which of them are running."""
        with self._lock:
            self._broken_off.difference_update(fences)
            return {key for key in self._runs if key[1] in fences}
