"""How long a seat stays empty, and how a fleet is told what it is."""

from __future__ import annotations

from itertools import pairwise

import multiprocess
import pytest

from pyengine.errors import DBOSInitializationError
from pyengine.supervisor.backoff import RestartBackoff
from pyengine.supervisor.pipes import pipe
from pyengine.supervisor.processes import choose_start_method
from pyengine.supervisor.spec import WorkerSpec


def test_the_first_death_is_made_good_at_once() -> None:
    assert RestartBackoff().after_death(0.0) == 0.0


def test_deaths_in_a_row_are_followed_by_longer_and_longer_waits() -> None:
    backoff = RestartBackoff()

    waits = [backoff.after_death(0.1) for _ in range(12)]

    assert waits[0] == 0.0
    assert all(0 < earlier < later for earlier, later in pairwise(waits[1:7]))
    assert max(waits) <= 30.0
    assert min(waits[-3:]) > 20.0


def test_who_lived_long_is_replaced_at_once() -> None:
    backoff = RestartBackoff()
    for _ in range(5):
        backoff.after_death(0.1)

    assert backoff.after_death(60.0) == 0.0
    assert backoff.after_death(0.1) > 0.0


def test_the_wait_of_urgent_seats_is_short() -> None:
    backoff = RestartBackoff(2.0)

    assert max(backoff.after_death(0.1) for _ in range(20)) <= 2.0


def test_a_thread_makes_a_fork_unsafe() -> None:
    import threading

    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (ready.set(), over.wait()))
    thread.start()
    ready.wait()
    try:
        assert choose_start_method(None) == "spawn"
        assert choose_start_method("fork") == "fork"  # whoever asks knows
    finally:
        over.set()
        thread.join()


def test_the_environment_may_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENGINE_START_METHOD", "spawn")
    assert choose_start_method(None) == "spawn"

    monkeypatch.setenv("PYENGINE_START_METHOD", "clone")
    with pytest.raises(DBOSInitializationError, match="'clone' is not a start method"):
        choose_start_method(None)


def test_a_spec_travels_as_json() -> None:
    spec = WorkerSpec(targets=("app", "other:make"), processes=3, queues=("a",), grace_seconds=1.5, max_rss_mb=200)

    assert WorkerSpec.from_json(spec.to_json()) == spec


def test_a_bell_is_heard_and_never_blocks() -> None:
    reader, bell = pipe()
    try:
        for _ in range(100_000):
            bell.ring()
        assert reader.drain()
        assert reader.drain()  # silence is not the end
        bell.close()
        assert not reader.drain()
    finally:
        reader.close()
        bell.close()


def test_nobody_left_to_hear_is_no_error() -> None:
    reader, bell = pipe()
    reader.close()
    bell.ring()
    bell.close()


def test_multiprocess_is_the_fork_that_is_meant() -> None:
    assert {"fork", "spawn"} <= set(multiprocess.get_all_start_methods())
