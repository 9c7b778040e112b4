from __future__ import annotations

from pyengine.runtime.probes import Probes


def test_quick_looks_are_made_at_every_tick() -> None:
    probes = Probes(5.0)
    for now in range(10):
        assert probes.are_due(now)
        probes.took(0.04, now)


def test_a_database_that_is_far_away_is_no_slow_look() -> None:
    probes = Probes(5.0)
    for now in range(10):
        assert probes.are_due(now)
        probes.took(0.3 + 0.02 * (now % 2), now)


def test_one_slow_look_may_be_anything() -> None:
    probes = Probes(5.0)
    for now, seconds in enumerate([0.01, 2.0, 0.01, 2.0, 0.01]):
        probes.took(seconds, now)
        assert probes.are_due(now + seconds)


def test_slow_looks_are_put_off_but_not_for_ever() -> None:
    probes = Probes(5.0)
    for seconds in (0.01, 0.11, 0.11):
        probes.took(seconds, 0.0)
    assert not probes.are_due(1.0)
    assert probes.are_due(1.2)
    for _ in range(2):
        probes.took(3.0, 10.0)
    assert not probes.are_due(17.9)
    assert probes.are_due(18.1)


def test_how_long_they_are_put_off_at_most_is_said_by_who_looks() -> None:
    probes = Probes(60.0)
    for seconds in (0.01, 2.01, 2.01):
        probes.took(seconds, 0.0)
    assert not probes.are_due(21.9)
    assert probes.are_due(22.1)
