"""Where looks at a queue may begin while somebody holds a snapshot.

Rows that were claimed stay in the queue's index, at its head, until vacuum may remove them: a transaction or a dump
that is hours old keeps them all, and a claim walks over every one. So the dispatcher remembers how far it has
claimed, and begins there. That is only right for what was there when it claimed: a row can appear before the mark,
from a transaction that was long in committing, from a takeover or a resume. Hence the mark lags, and looks from the
very head go on as often as their cost allows. Nothing is begun while such a look is cheap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..db.rows import Claim

# What is claimed now is a mark after this long at the earliest: who drew a number before has committed by then.
LAG_SECONDS = 1.0
# Looks from the head have a tenth of the time. An expensive one waits longer for the next, but not for ever.
_COST = 10.0
_LONGEST_SECONDS = 5.0
# Each is a scan of its own. The priorities that were claimed longest ago are let go of.
_MOST_PRIORITIES = 32


class LowWater:
    """Of one queue, for one thread. Instants are of `time.monotonic()`."""

    def __init__(self) -> None:
        # priority → seq. In the newest those claimed last come last.
        self._mark: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._newest: dict[int, int] = {}
        self._turned_at = 0.0
        self._full_at = 0.0
        self._unversioned = False
        self.is_wading = False

    def mark(self, now: float, *, unversioned: bool) -> Mapping[int, int] | None:
        """Where to begin, in order of priority; None: at the head."""
        if unversioned != self._unversioned:
            # What is there without a version was not looked at until now.
            self._unversioned = unversioned
            for each in (self._mark, self._older, self._newest):
                each.clear()
        return self._mark if self._mark and now < self._full_at else None

    def learn(self, claims: Sequence[Claim], mark: Mapping[int, int] | None, began: float, now: float) -> None:
        """What a look that began at this mark has found."""
        if mark is None:
            self.is_wading = bool(claims) and claims[0].low_water is not None
            self._full_at = now + min(_COST * (now - began), _LONGEST_SECONDS) if self.is_wading else 0.0
        for claim in claims:
            if claim.low_water is not None:
                self._note(claim.priority, claim.low_water)
        if now - self._turned_at >= LAG_SECONDS:
            self._turned_at = now
            self._mark = {priority: self._older[priority] for priority in sorted(self._older)}
            self._older = dict(self._newest)

    def _note(self, priority: int, seq: int) -> None:
        """All that could be claimed of a priority before this seq is gone; and no more than that is known, where it is
        less than was thought.
        """
        self._newest.pop(priority, None)
        self._newest[priority] = seq
        for each in (self._mark, self._older):
            if seq < each.get(priority, seq):
                each[priority] = seq
        while len(self._newest) > _MOST_PRIORITIES:
            del self._newest[next(iter(self._newest))]
