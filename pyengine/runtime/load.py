"""What a process has taken on: its runs by claim, and how much more it should claim.

It claims what it can run now, and leaves the rest to hosts that have nothing to do or come later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from .run import Run

# Runs that are busy with user code. Those that wait in the engine (asleep, or for another workflow) do not
# count: a parent waiting for its children must never keep them from being claimed.
MAX_BUSY = 256
_FIRST = 16
_FEWEST = 8
# Of the work in hand: of processor time, which threads of one process do not share in.
_WORK_SECONDS = 1.0
# So long is looked before more is taken on although nothing has ended, and so much of it the processor may have worked.
_LOOK_SECONDS = 0.1
_SPARE = 0.8
# When nothing ends for so long, more is taken on all the same: what runs may be waiting for what does not.
_PATIENCE_SECONDS = 5.0
_IDLE_SECONDS = 1.0
# A claim costs as much by itself as thirty rows of it do. Room for a quarter is worth one where claims are so far
# apart; while work ends faster than that, room for a half.
_APART_SECONDS = 0.005


class Window:
    """How many claimed workflows a process holds at a time: a few at first, more with each that ends, and more while
    they wait for others instead of computing. But no more than is computed in a second, as far as is known.
    """

    def __init__(self) -> None:
        self._size = float(_FIRST)
        self._cost: float | None = None
        self._looked_at = (0.0, 0.0)
        self._moved_at = time.monotonic()

    @property
    def size(self) -> int:
        size = min(self._size, MAX_BUSY)
        return int(size if not self._cost else max(_FEWEST, min(size, _WORK_SECONDS / self._cost)))

    def ended(self) -> None:
        self._size = min(self._size + 1, MAX_BUSY)
        self._moved_at = time.monotonic()

    def cost(self, seconds: float) -> None:
        """So much processor time a workflow has taken."""
        self._cost = seconds if self._cost is None else self._cost + (seconds - self._cost) / 16

    def restart(self) -> None:
        """Nothing has been claimed for a while: what comes may be of another kind."""
        self._size = _FIRST
        self._moved_at = time.monotonic()

    def stretch(self) -> None:
        """It is full. Twice as many, if the processor has had time to spare since the look before this one."""
        then, used = self._looked_at
        now, uses = time.monotonic(), time.process_time()
        if now - then < _LOOK_SECONDS:
            return
        self._looked_at = now, uses
        has_time = now - then < 3 * _LOOK_SECONDS and uses - used < _SPARE * (now - then)
        if has_time or now - self._moved_at >= _PATIENCE_SECONDS:
            self._size = min(self._size * 2, MAX_BUSY)
            self._moved_at = now


class Load:
    """Counts runs that are busy, and says how many more may be claimed."""

    def __init__(
        self, on_room: Callable[[float], None], max_threads: int | None = None, *, max_busy: int = MAX_BUSY
    ) -> None:
        """`on_room` is told how many seconds the next claim should be apart from the last."""
        self._max_busy = max_busy
        self._lock = threading.Lock()
        self._on_room = on_room
        self._max_threads = max_threads
        self._window = Window()
        self._busy = 0
        self._busy_threads = 0
        self._busy_claimed = 0
        self._changed_at = time.monotonic()
        self._wanted: list[tuple[int, float]] = []

    def room(self) -> int:
        """How many more workflows may be claimed now. After a 0, `on_room` is called when there is room again."""
        with self._lock:
            if self._busy_claimed == 0 and time.monotonic() - self._changed_at > _IDLE_SECONDS:
                self._window.restart()
            elif self._busy_claimed >= self._window.size:
                self._window.stretch()
            room = self._room()
            self._wanted = [] if room > 0 else self._worth_a_claim()
            return max(0, room)

    def look_again_after(self) -> float | None:
        """After a room of 0: when there may be some although nothing has ended."""
        is_at_its_most = self._window.size >= self._max_busy or self._busy_claimed < self._window.size
        return None if is_at_its_most else _LOOK_SECONDS

    def change(self, by: int, *, needs_thread: bool, is_claimed: bool) -> None:
        """So many runs more, or less, are busy."""
        with self._lock:
            self._busy += by
            if needs_thread:
                self._busy_threads += by
            if is_claimed:
                self._busy_claimed += by
                self._changed_at = time.monotonic()
            if not self._wanted or self._room() < self._wanted[0][0]:
                return
            _, apart = self._wanted.pop(0)
        self._on_room(apart)

    def ended(self) -> None:
        """A claimed run is over."""
        with self._lock:
            self._window.ended()

    def cost(self, seconds: float) -> None:
        """So much processor time a claimed run has taken, that ran on a thread."""
        with self._lock:
            self._window.cost(seconds)

    def _room(self) -> int:
        room = min(self._max_busy - self._busy, self._window.size - self._busy_claimed)
        return room if self._max_threads is None else min(room, self._max_threads - self._busy_threads)

    def _worth_a_claim(self) -> list[tuple[int, float]]:
        """Not one at a time: how much room for it, and how far apart claims are for that. The tick looks anyway."""
        most = min(self._max_busy, self._window.size, self._max_threads or self._max_busy)
        return [(max(1, most // 4), _APART_SECONDS), (max(1, most // 2), 0.0)]


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
        self._load.change(+1, needs_thread=run.needs_thread, is_claimed=run.is_claimed)
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
        if run.is_claimed:
            self._load.ended()
        self._load.change(-1, needs_thread=run.needs_thread, is_claimed=run.is_claimed)
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
