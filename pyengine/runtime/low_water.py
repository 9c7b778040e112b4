"""Where looks at a queue may begin while somebody holds a snapshot.

Rows that were claimed stay in the queue's index, at its head, until vacuum may remove them: a transaction or a dump
that is hours old keeps them all, and a claim walks over every one. So the dispatcher remembers how far it has
claimed, and begins there. That is only right for what was there when it claimed: a row can appear before the mark,
from a transaction that was long in committing, from a takeover or a resume. Hence the mark lags, and looks from the
very head go on as often as their cost allows. Nothing is begun while such a look is cheap.

Each partition of a partitioned queue has a head of its own, and so has the order in which partitions are served. There
a look from all heads is made in parts, by turns, when it takes long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zlib import crc32

from ..db.rows import Claim

# What is claimed now is a mark after this long at the earliest: who drew a number before has committed by then.
LAG_SECONDS = 1.0
# Looks from the head have a tenth of the time. An expensive one waits longer for the next, but not for ever.
_COST = 10.0
_LONGEST_SECONDS = 5.0
# But more than a fifth of the time is not spent on them even so.
_COST_AT_LEAST = 4.0
# A look from all heads that takes longer than this is made in parts: by turns some partitions, and the order of all.
_LONG_SECONDS = 0.05
_PARTS = 17
_PART_SECONDS = _LONGEST_SECONDS / _PARTS
# Those that were claimed longest ago are let go of. Each priority is a scan of its own; of a partitioned queue only
# those of the partition that is looked at are scanned, but all are sent and searched.
_MOST_PRIORITIES = 32
_MOST_PLACES = 256


@dataclass(frozen=True, slots=True)
class Mark:
    """(partition, priority) → seq, in order. The partition is empty where the queue has none. served_at: no partition
    that was served before is looked for; an instant of the database.
    """

    places: dict[tuple[str, int], int] = field(default_factory=dict)
    served_at: datetime | None = None
    # Of the look from all heads: as many as it leaves out are looked at from there.
    parts: int = 0

    def __bool__(self) -> bool:
        return bool(self.places) or self.served_at is not None

    def without(self, turn: int, parts: int) -> Mark:
        """From this turn on. The last one is that of the order in which partitions are served."""
        left_out = {(turn + each) % _PARTS for each in range(parts)}
        places = {
            (partition, priority): seq
            for (partition, priority), seq in self.places.items()
            if crc32(partition.encode()) % (_PARTS - 1) not in left_out
        }
        return Mark(places, None if _PARTS - 1 in left_out else self.served_at, parts)

    @property
    def partitions(self) -> list[str] | None:
        return [partition for partition, _ in self.places] if any(key for key, _ in self.places) else None

    @property
    def priorities(self) -> list[int] | None:
        return [priority for _, priority in self.places] or None

    @property
    def seqs(self) -> list[int] | None:
        return list(self.places.values()) or None


class _Reached:
    """How far claims had come at one time. Of places, those claimed last come last."""

    def __init__(self, places: dict[tuple[str, int], int] | None = None, served_at: datetime | None = None) -> None:
        self.places = {} if places is None else dict(places)
        self.served_at = served_at

    def mark(self) -> Mark:
        return Mark({place: self.places[place] for place in sorted(self.places)}, self.served_at)

    def advance(self, place: tuple[str, int], seq: int) -> None:
        self.places.pop(place, None)
        self.places[place] = seq
        while len(self.places) > (_MOST_PLACES if place[0] else _MOST_PRIORITIES):
            del self.places[next(iter(self.places))]

    def take_back(self, place: tuple[str, int], seq: int) -> None:
        if seq < self.places.get(place, seq):
            self.places[place] = seq

    def take_turns_back(self, served_at: datetime) -> None:
        if self.served_at is not None and served_at < self.served_at:
            self.served_at = served_at


class LowWater:
    """Of one queue, for one thread. Instants are of `time.monotonic()`."""

    def __init__(self) -> None:
        self._forget()
        self._turned_at = 0.0
        self._full_at = 0.0
        # How long a look from all heads takes, and one from marks. While the former is made in parts: whose turn it is,
        # and how much longer than the latter they have taken so far.
        self._whole_seconds = 0.0
        self._marked_seconds = 0.0
        self._turn = 0
        self._spent_seconds = 0.0
        self._unversioned = False
        self.is_wading = False

    def _forget(self) -> None:
        self._held, self._older, self._newest = _Reached(), _Reached(), _Reached()
        self._mark = self._held.mark()

    def mark(self, now: float, *, unversioned: bool) -> Mark | None:
        """Where to begin; None: at the head."""
        if unversioned != self._unversioned:
            # What is there without a version was not looked at until now.
            self._unversioned = unversioned
            self._forget()
        if not self._mark or now < self._full_at:
            return self._mark or None
        # A queue that is looked at seldom makes up for it.
        parts = 1 + int((now - self._full_at) / _PART_SECONDS)
        return self._mark.without(self._turn, parts) if self._goes_by_parts() and parts < _PARTS else None

    def _goes_by_parts(self) -> bool:
        # A quarter longer each than one from marks: so much they differ anyway.
        long = max(_LONG_SECONDS, self._marked_seconds * _PARTS / 4)
        return self._whole_seconds > long and self._mark.partitions is not None

    def learn(self, claims: Sequence[Claim], mark: Mark | None, began: float, now: float) -> None:
        """What a look that began at this mark has found."""
        if mark is None:
            # Also when there was no room for anything: the next look would walk as far.
            self.is_wading = bool(claims) and (claims[0].verdict == "waded" or claims[0].low_water is not None)
        for claim in claims:
            if claim.low_water is not None:
                self._note((claim.partition_key or "", claim.priority), claim.low_water)
        if claims and claims[0].lanes_served_at is not None:
            self._note_turn(claims[0].lanes_served_at)
        if now - self._turned_at >= LAG_SECONDS:
            self._turned_at = now
            self._held = self._older
            self._older = _Reached(self._newest.places, self._newest.served_at)
        self._mark = self._held.mark()
        self._plan(mark, now - began, now)

    def _plan(self, mark: Mark | None, took: float, now: float) -> None:
        """When to look from heads next, after one that began at this mark."""
        if mark is None:
            self._whole_seconds, self._turn, self._spent_seconds = took, 0, 0.0
        elif mark.parts:
            self._turn += mark.parts
            self._spent_seconds += max(took - self._marked_seconds, 0.0)
            if self._turn >= _PARTS:
                self._whole_seconds, self._turn, self._spent_seconds = self._spent_seconds, self._turn - _PARTS, 0.0
        else:
            self._marked_seconds = took
            return

        if not self.is_wading:
            self._full_at = 0.0
        elif not self._goes_by_parts():
            self._full_at = now + min(_COST * took, max(_LONGEST_SECONDS, _COST_AT_LEAST * took))
        elif mark is None:
            self._full_at = now + min(_COST * took, _PART_SECONDS)
        else:
            # Of when it was due, not of now: what each is late must not add up.
            self._full_at = min(now + _COST * took, self._full_at + mark.parts * _PART_SECONDS)

    def _note(self, place: tuple[str, int], seq: int) -> None:
        """All that could be claimed at a place before this seq is gone; and no more than that is known, where it is
        less than was thought.
        """
        self._newest.advance(place, seq)
        for each in (self._held, self._older):
            each.take_back(place, seq)

    def _note_turn(self, served_at: datetime) -> None:
        """The same of the turns of partitions."""
        self._newest.served_at = served_at
        for each in (self._held, self._older):
            each.take_turns_back(served_at)
