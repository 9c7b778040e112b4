"""How a lone caller waits for its answer: it looks again and again for a moment before it goes to sleep.

Whoever sleeps while Postgres commits wakes up late, and finds its caches taken by others: where the disk is fast, that
is a quarter of what a call takes. Looking costs processor time instead, so it is bounded: only where there is a
processor to spare, only for calls that follow one upon the other, only for the time that a commit to a near and fast
disk takes, and hardly ever where that was not enough before. Between two looks others may have the processor, and other
threads the interpreter.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING

from ..machine import cgroup_limits, usable_cpus

if TYPE_CHECKING:
    import select

LONGEST_SECONDS = 0.0003
# So soon after an answer the next call belongs to the same row of them. One now and then may as well sleep.
_APART_SECONDS = 0.001
# After that many answers that were late, one after another, an answer is looked for once in so many calls.
_MOST_PASSES = 256


@cache
def has_processor_to_spare() -> bool:
    """Alone on its processor, a process that looks keeps Postgres, or its own quota, from the work it waits for."""
    cpus = cgroup_limits().cpus
    return usable_cpus() > 1 and (cpus is None or cpus >= 2) and hasattr(os, "sched_yield")


class Eagerness:
    """Of one connection: how it went before."""

    __slots__ = ("_answered_at", "_passes", "_to_pass")

    def __init__(self) -> None:
        self._answered_at = float("-inf")
        self._passes = 0
        self._to_pass = 0

    def answered(self) -> None:
        """Whoever asks now follows."""
        self._answered_at = time.perf_counter()

    def sees(self, poll: select.poll) -> bool:
        """True as soon as there is something to read. False: it takes longer, wait for it asleep."""
        now = time.perf_counter()
        if now - self._answered_at > _APART_SECONDS or not has_processor_to_spare():
            return False
        if self._to_pass:
            self._to_pass -= 1
            return False
        until = now + LONGEST_SECONDS
        while not poll.poll(0):
            if time.perf_counter() >= until:
                self._to_pass = self._passes = min(2 * self._passes + 1, _MOST_PASSES)
                return False
            os.sched_yield()
        self._passes = 0
        return True
