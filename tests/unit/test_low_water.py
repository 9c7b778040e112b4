"""Where looks at a queue begin: what the marks are made of, when they hold, and how they are taken back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pyengine.db.rows import Claim
from pyengine.runtime.low_water import LAG_SECONDS, LowWater

_NONE = dict.fromkeys(Claim._fields)


def claims(*rows: tuple[int, int | None]) -> list[Claim]:
    return [Claim(**(_NONE | {"priority": priority, "low_water": seq})) for priority, seq in rows]


class Queue:
    """A queue as its dispatcher sees it: each look takes as long as it is said to."""

    def __init__(self) -> None:
        self.low_water = LowWater()
        self.now = 1000.0
        self.unversioned = False

    def look(self, *rows: tuple[int, int | None], took: float = 0.0) -> Mapping[int, int] | None:
        """Where it began."""
        mark = self.low_water.mark(self.now, unversioned=self.unversioned)
        began = None if mark is None else {priority: seq for (_, priority), seq in mark.places.items()}
        self.now += took
        self.low_water.learn(claims(*rows), mark, self.now - took, self.now)
        return began

    def look_in_vain(self, row: tuple[int, int | None], took: float) -> Mapping[int, int] | None:
        """A long walk from the head to this row, and no room for it."""
        mark = self.low_water.mark(self.now, unversioned=self.unversioned)
        self.now += took
        (found,) = claims(row)
        self.low_water.learn([found._replace(verdict="waded")], mark, self.now - took, self.now)
        return None if mark is None else {priority: seq for (_, priority), seq in mark.places.items()}

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def wade(self, *rows: tuple[int, int | None]) -> None:
        """Twice for as long as the marks lag: what these looks find is a mark from then on."""
        for _ in range(3):
            self.wait(10 * LAG_SECONDS)
            self.look(*rows, took=0.4)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_looks_begin_at_the_head_while_they_are_cheap(queue: Queue) -> None:
    for _ in range(100):
        assert queue.look((0, None), took=3.0) is None
        queue.wait(0.5)
    assert not queue.low_water.is_wading


def test_a_mark_lags_behind_what_was_claimed(queue: Queue) -> None:
    begins = []
    for seq in range(0, 100, 10):
        begins.append(queue.look((0, seq), took=0.05))
        queue.wait(0.2)
    known = [None if mark is None else mark[0] for mark in begins]

    assert any(mark is not None for mark in known)
    for place, mark in enumerate(known):
        assert mark is None or mark <= (place - LAG_SECONDS / 0.25) * 10


def test_looks_from_the_head_have_a_tenth_of_the_time(queue: Queue) -> None:
    queue.wade((0, 10))
    began = queue.now
    spent = {True: 0.0, False: 0.0}
    for seq in range(10, 1000):
        before = queue.now
        is_full = queue.low_water.mark(queue.now, unversioned=False) is None
        queue.look((0, seq), took=0.3 if is_full else 0.01)
        spent[is_full] += queue.now - before
        queue.wait(0.01)

    assert 0.05 < spent[True] / (queue.now - began) < 0.12


@pytest.mark.parametrize(("took", "longest"), [(0.6, 5.0), (1.2, 5.0), (30.0, 120.0)])
def test_they_are_made_every_few_seconds_or_for_a_fifth_of_the_time(queue: Queue, took: float, longest: float) -> None:
    queue.wade((0, 10))
    queue.wait(10)
    assert queue.look((0, 10), took=took) is None
    since = queue.now
    while queue.low_water.mark(queue.now, unversioned=False) is not None:
        queue.wait(0.1)
    assert longest <= queue.now - since <= longest + 0.2


def test_rows_that_come_back_take_the_mark_back_with_them(queue: Queue) -> None:
    queue.wade((0, 500), (1, 600))
    assert queue.look((0, 501)) == {0: 500, 1: 600}
    queue.wait(10)
    assert queue.look((0, 7), (0, 8), took=0.4) is None

    assert queue.look((0, 9)) == {0: 7, 1: 600}
    queue.wade((0, 10))
    assert queue.look() == {0: 10, 1: 600}


def test_rows_that_come_back_just_before_a_mark_begins_to_hold(queue: Queue) -> None:
    queue.wade((0, 500))
    queue.wait(10)
    queue.look((0, 501), (1, 900), took=0.4)
    # 1 is claimed, but no mark yet.
    queue.wait(10)
    queue.look((0, 502), (1, 3), took=0.4)
    queue.wait(LAG_SECONDS)
    queue.look((0, 503))

    mark = queue.look()
    assert mark is not None
    assert mark.get(1, 3) == 3


def test_a_cheap_look_from_the_head_ends_it(queue: Queue) -> None:
    queue.wade((0, 10))
    assert queue.low_water.is_wading
    queue.wait(10)
    queue.look((0, None), took=0.001)

    assert not queue.low_water.is_wading
    assert queue.look((0, None)) is None


def test_a_look_from_the_head_that_finds_nothing_leaves_the_queue_to_the_tick(queue: Queue) -> None:
    queue.wade((0, 10))
    queue.look()
    assert queue.low_water.is_wading
    queue.wait(10)
    queue.look(took=0.4)
    assert not queue.low_water.is_wading


@pytest.mark.parametrize("seq", [None, 20])
def test_a_long_look_from_the_head_that_had_no_room_is_not_made_again_at_once(queue: Queue, seq: int | None) -> None:
    queue.wade((0, 10))
    queue.wait(10)
    assert queue.look_in_vain((0, seq), took=0.4) is None

    assert queue.low_water.is_wading
    assert queue.look() == {0: 10}
    queue.wait(5)
    assert queue.look_in_vain((0, seq), took=0.4) is None
    assert queue.look() == {0: 10 if seq is None else seq}


def test_who_never_had_room_learns_where_work_begins(queue: Queue) -> None:
    for _ in range(2):
        assert queue.look_in_vain((4, 20), took=0.4) is None
        queue.wait(LAG_SECONDS)

    assert queue.look() == {4: 20}


def test_what_has_no_version_was_not_looked_at_before(queue: Queue) -> None:
    queue.wade((0, 10))
    queue.unversioned = True
    assert queue.look((0, 3), took=0.4) is None


def test_the_priorities_claimed_last_are_kept(queue: Queue) -> None:
    for priority in range(100):
        queue.wade((priority, 10))
    mark = queue.look()
    assert mark is not None
    assert list(mark) == sorted(mark)
    assert len(mark) <= 33
    assert max(mark) >= 98
