"""How often the tick looks whether queues hold work: at every tick, unless that has become slow."""

from __future__ import annotations

# A tenth of the time is spent on it at most, and it is never put off for longer.
_COST = 10.0
_LONGEST_SECONDS = 5.0
_SLOW_SECONDS = 0.05


class Probes:
    """An empty queue is walked through to its end, over all that somebody's snapshot keeps there. So looks that take
    long, compared with the quickest tick there was, and twice in a row, are made less often. Instants are of
    `time.monotonic()`.
    """

    def __init__(self) -> None:
        self._due = 0.0
        self._quickest = float("inf")
        self._last = 0.0

    def are_due(self, now: float) -> bool:
        return now >= self._due

    def took(self, seconds: float, began: float) -> None:
        """A tick that looked."""
        self._quickest = min(self._quickest, seconds)
        last, self._last = self._last, seconds - self._quickest
        cost = min(last, self._last)
        if cost > _SLOW_SECONDS:
            self._due = began + seconds + min(_COST * cost, _LONGEST_SECONDS)
