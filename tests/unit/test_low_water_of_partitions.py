"""Marks of a partitioned queue: one for each partition, one for their order. Long looks from all heads are in parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pyengine.db.rows import Claim
from pyengine.runtime.low_water import LAG_SECONDS, LowWater, Mark

_NONE = dict.fromkeys(Claim._fields)
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = [f"k{number}" for number in range(20)]
BOUND_SECONDS = 5.0


def turn(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


class Queue:
    """As its dispatcher sees it: every look finds a row of each partition, all having the same seq."""

    def __init__(self) -> None:
        self.low_water = LowWater()
        self.now = 1000.0

    def look(
        self, seq: int | None, *, took: float = 0.0, served_at: datetime | None = None, keys: list[str] = KEYS
    ) -> Mark | None:
        """Where it began."""
        mark = self.low_water.mark(self.now, unversioned=False)
        found = {"priority": 0, "low_water": seq, "lanes_served_at": served_at}
        self.now += took
        claims = [Claim(**(_NONE | found | {"partition_key": key})) for key in keys]
        self.low_water.learn(claims, mark, self.now - took, self.now)
        return mark

    def wade(self, seq: int, took: float, served_at: datetime | None = None) -> None:
        for _ in range(3):
            self.now += 10 * LAG_SECONDS
            self.look(seq, took=took, served_at=served_at)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def left_out(mark: Mark | None) -> set[str]:
    """What a look began at the head of: partitions, and '' for their order."""
    if mark is None:
        return {*KEYS, ""}
    return {key for key in KEYS if (key, 0) not in mark.places} | ({""} if mark.served_at is None else set())


def test_each_partition_has_a_mark_of_its_own(queue: Queue) -> None:
    queue.wade(7, 0.04, turn(1))
    queue.look(9, keys=["b"])
    mark = queue.look(None, keys=[])

    assert mark is not None
    assert mark.partitions == sorted(KEYS)
    assert mark.seqs == [7] * len(KEYS)
    assert (mark.priorities, mark.served_at) == ([0] * len(KEYS), turn(1))


def test_a_queue_without_partitions_names_none(queue: Queue) -> None:
    queue.wade(7, 0.04)
    for _ in range(3):
        queue.now += 10 * LAG_SECONDS
        queue.low_water.learn([Claim(**(_NONE | {"priority": 3, "low_water": 5}))], None, queue.now - 1, queue.now)
    assert LowWater()._mark.partitions is None
    assert Mark({("", 3): 5}).partitions is None
    assert Mark({("", 3): 5, ("a", 0): 1}).partitions == ["", "a"]


def test_the_place_among_partitions_lags_and_is_taken_back(queue: Queue) -> None:
    queue.wade(7, 0.04, turn(100))
    queue.look(8, served_at=turn(200))
    mark = queue.look(8, served_at=turn(200))
    assert mark is not None
    assert mark.served_at == turn(100)

    queue.look(8, served_at=turn(50))
    mark = queue.look(8)
    assert mark is not None
    assert mark.served_at == turn(50)


@pytest.mark.parametrize("pause", [0.01, 0.2, 0.9])
def test_a_long_look_from_the_heads_is_made_in_parts_each_within_the_bound(queue: Queue, pause: float) -> None:
    queue.wade(7, 0.4, turn(1))
    queue.look(7, took=0.005, served_at=turn(1))
    seen = dict.fromkeys([*KEYS, ""], queue.now)
    shares = []
    for _ in range(int(30 / pause)):
        queue.now += pause
        began = queue.low_water.mark(queue.now, unversioned=False)
        heads = left_out(began)
        shares.append(len(heads))
        queue.look(7, took=0.005 + 0.02 * len(heads), served_at=turn(1))
        for key in heads:
            seen[key] = queue.now
        assert all(queue.now - at <= BOUND_SECONDS + pause + 0.5 for at in seen.values())

    assert max(shares) < len(KEYS) / 2 + 1


def test_a_queue_that_is_looked_at_seldom_is_looked_at_from_all_heads(queue: Queue) -> None:
    queue.wade(7, 0.4, turn(1))
    queue.now += 60

    assert queue.look(7, took=0.4) is None


def test_it_ends_when_the_parts_take_no_longer_than_looks_from_marks(queue: Queue) -> None:
    queue.wade(7, 0.4, turn(1))
    for _ in range(100):
        queue.now += 0.1
        mark = queue.low_water.mark(queue.now, unversioned=False)
        queue.look(None if mark is None else 7, took=0.006 if mark is not None and mark.parts else 0.005)

    assert not queue.low_water.is_wading
    assert queue.look(None) is None


def test_the_partitions_claimed_last_are_kept(queue: Queue) -> None:
    for number in range(1000):
        queue.look(7, took=0.01, keys=[f"{number:04}"], served_at=turn(1))
    queue.wade(7, 0.04)
    mark = queue.look(7, keys=["0999"])

    assert mark is not None
    assert len(mark.places) <= 256
    assert ("0999", 0) in mark.places
