"""How often the tick looks for what takes a walk: each time it could, unless that has become slow."""

from __future__ import annotations

# A tenth of the time is spent on it at most.
_COST = 10.0
_SLOW_SECONDS = 0.05


class Probes:
    """An empty queue is walked through to its end, over all that somebody's snapshot keeps there; so are the claims of
    an executor. Looks that take long, compared with the quickest tick there was, and twice in a row, are made less
    often, but not put off for longer than so many seconds. Instants are of `time.monotonic()`.
    """

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
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
            self._due = began + seconds + min(_COST * cost, self._longest_seconds)
