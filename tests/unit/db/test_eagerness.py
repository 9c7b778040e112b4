"""Waiting awake: against a real pipe, and within bounds."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pyengine.db import eagerness as module
from pyengine.db.eagerness import Eagerness, has_processor_to_spare
from pyengine.machine import Limits


@dataclass
class Pipe:
    """Its reading end as a connection's socket: how often was it looked at?"""

    reading: int
    writing: int
    looks: int = 0

    def __post_init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(self.reading, select.POLLIN)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        self.looks += 1
        return self._poll.poll(timeout)

    def answer(self) -> None:
        os.write(self.writing, b"x")

    def read(self) -> None:
        os.read(self.reading, 1)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    yield Pipe(reading, writing)
    os.close(reading)
    os.close(writing)


def in_a_row() -> Eagerness:
    """The answer before this one has just come, however slow the test is."""
    made = Eagerness()
    made._answered_at = float("inf")
    return made


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_processor_to_spare", lambda: True)


def test_an_answer_that_is_there_is_seen_at_once(pipe: Pipe) -> None:
    pipe.answer()

    assert in_a_row().sees(pipe)  # type: ignore[arg-type]
    assert pipe.looks == 1


def test_only_calls_that_follow_one_upon_the_other_are_looked_for(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    pipe.answer()
    eager = Eagerness()
    assert not eager.sees(pipe)  # type: ignore[arg-type]
    eager.answered()
    now += 0.0005
    assert eager.sees(pipe)  # type: ignore[arg-type]
    now += 0.0010
    assert not eager.sees(pipe)  # type: ignore[arg-type]
    assert pipe.looks == 1


def test_an_answer_is_seen_while_it_is_looked_for(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 10.0)
    threading.Timer(0.02, pipe.answer).start()

    assert in_a_row().sees(pipe)  # type: ignore[arg-type]
    assert pipe.looks > 1


def test_late_answers_are_looked_for_ever_less(pipe: Pipe) -> None:
    """After one, three, seven … calls that are waited for asleep."""
    eager = in_a_row()
    looked = []
    for call in range(40):
        before = pipe.looks
        assert not eager.sees(pipe)  # type: ignore[arg-type]
        if pipe.looks > before:
            looked.append(call)

    assert looked == [0, 2, 6, 14, 30]


def test_an_answer_in_time_makes_the_next_one_looked_for(pipe: Pipe) -> None:
    eager = in_a_row()
    for _ in range(3):
        eager.sees(pipe)  # type: ignore[arg-type]
    pipe.answer()
    while not eager.sees(pipe):  # type: ignore[arg-type]
        continue
    pipe.read()
    before = pipe.looks
    eager.sees(pipe)  # type: ignore[arg-type]

    assert pipe.looks > before


@pytest.mark.parametrize(
    ("cpus", "quota", "expected"), [(1, None, False), (2, None, True), (8, 1.5, False), (8, 2.0, True)]
)
def test_who_has_one_processor_does_not_look(
    cpus: int, quota: float | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(module, "cgroup_limits", lambda: Limits(quota, None))
    has_processor_to_spare.cache_clear()
    try:
        assert has_processor_to_spare() is expected
    finally:
        has_processor_to_spare.cache_clear()


def test_without_one_nothing_is_looked_at(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_processor_to_spare", lambda: False)
    pipe.answer()

    assert not in_a_row().sees(pipe)  # type: ignore[arg-type]
    assert pipe.looks == 0
