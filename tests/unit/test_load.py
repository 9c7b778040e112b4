"""How much a process takes on: what it can run now, and no more."""

from __future__ import annotations

import pytest

from pyengine.runtime import load as module
from pyengine.runtime.load import MAX_BUSY, Load, Window


class Clock:
    """Of the wall, and of the processor."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 5.0

    def passes(self, seconds: float, *, used: float) -> None:
        self.now += seconds
        self.used += used


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(module.time, "process_time", lambda: clock.used)
    return clock


def begin(load: Load, count: int, *, claimed: bool = True) -> None:
    load.change(count, needs_thread=True, is_claimed=claimed)


def end(load: Load, count: int = 1) -> None:
    for _ in range(count):
        load.ended()
        load.change(-1, needs_thread=True, is_claimed=True)


def open_wide(load: Load) -> None:
    begin(load, MAX_BUSY)
    end(load, MAX_BUSY)


def test_it_begins_with_a_few_and_takes_on_more_as_they_end(clock: Clock) -> None:
    load = Load(lambda _: None)
    assert load.room() == 16
    begin(load, 16)
    assert load.room() == 0
    end(load, 10)
    assert load.room() == 20
    open_wide(load)
    assert load.room() == MAX_BUSY - 6


def test_room_comes_back_in_portions_worth_a_claim(clock: Clock) -> None:
    """A quarter where claims are some milliseconds apart, a half at once."""
    woken: list[float] = []
    load = Load(woken.append)
    open_wide(load)
    begin(load, MAX_BUSY)
    assert load.room() == 0
    end(load, MAX_BUSY // 4 - 1)
    assert woken == []
    end(load)
    assert len(woken) == 1
    assert woken[0] > 0
    end(load, MAX_BUSY // 4)
    assert woken[1:] == [0.0]
    end(load, MAX_BUSY // 4)
    assert load.room() == MAX_BUSY * 3 // 4
    assert len(woken) == 2


def test_a_claim_before_there_is_room_for_a_half_begins_anew(clock: Clock) -> None:
    woken: list[float] = []
    load = Load(woken.append)
    open_wide(load)
    begin(load, MAX_BUSY)
    assert load.room() == 0
    end(load, MAX_BUSY // 4)
    assert load.room() == MAX_BUSY // 4
    begin(load, MAX_BUSY // 4)
    end(load, MAX_BUSY)
    assert len(woken) == 1


def test_no_more_is_claimed_than_there_are_threads_for(clock: Clock) -> None:
    load = Load(lambda _: None, max_threads=2)
    load.change(+1, needs_thread=False, is_claimed=True)
    assert load.room() == 2
    begin(load, 2)
    assert load.room() == 0


def test_what_was_started_here_leaves_room_for_what_is_claimed(clock: Clock) -> None:
    load = Load(lambda _: None)
    begin(load, 200, claimed=False)
    assert load.room() == 16
    begin(load, 50, claimed=False)
    assert load.room() == MAX_BUSY - 250


def test_work_that_waits_makes_room_for_more(clock: Clock) -> None:
    load = Load(lambda _: None)
    sizes = []
    while (room := load.room()) or load.look_again_after() is not None:
        sizes.append(room)
        begin(load, room)
        clock.passes(0.1, used=0.01)
    assert [each for each in sizes if each] == [16, 16, 32, 64, 128]


def test_work_that_computes_makes_none(clock: Clock) -> None:
    load = Load(lambda _: None)
    for _ in range(40):
        begin(load, load.room())
        clock.passes(0.1, used=0.1)
    assert load.room() == 0
    # Nor does a pause of the one who looks, of which nobody knows what was in it.
    clock.passes(0.5, used=0.01)
    assert load.room() == 0
    # But it may be that nothing ends because what would end it has not begun.
    clock.passes(1.0, used=1.0)
    assert load.room() == 16


def test_no_more_is_in_hand_than_a_second_of_processor_time(clock: Clock) -> None:
    load = Load(lambda _: None)
    open_wide(load)
    load.cost(0.0003)
    assert load.room() == MAX_BUSY
    for _ in range(200):
        load.cost(0.05)
    assert 19 <= load.room() <= 21
    for _ in range(200):
        load.cost(10.0)
    assert load.room() == 8, "what waits in between must not hold up the rest"
    begin(load, 8)
    assert load.look_again_after() is not None


def test_after_a_pause_it_begins_with_a_few_again(clock: Clock) -> None:
    load = Load(lambda _: None)
    open_wide(load)
    clock.passes(0.5, used=0.0)
    assert load.room() == MAX_BUSY
    clock.passes(1.0, used=0.0)
    assert load.room() == 16


def test_a_window_never_exceeds_what_a_process_holds() -> None:
    window = Window()
    for _ in range(2 * MAX_BUSY):
        window.ended()
    assert window.size == MAX_BUSY
    window.cost(0.0)
    assert window.size == MAX_BUSY
