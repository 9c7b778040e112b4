"""When a queue is looked at again, as far as that is decided without a database."""

from __future__ import annotations

import time

from pyengine.runtime.dispatcher import _Poll


def delays(poll: _Poll, looks: int) -> list[float | None]:
    """In seconds, after looks that find nothing."""
    found = []
    for _ in range(looks):
        due = poll.after(0)
        found.append(None if due is None else due - time.monotonic())
    return found


def test_a_queue_that_stays_empty_is_left_to_the_tick() -> None:
    poll = _Poll(ceiling=1.0)
    poll.after(5)

    assert delays(poll, 10)[-1] is None


def test_what_a_rate_allows_again_is_looked_for_often_while_it_may_come_back() -> None:
    poll = _Poll(ceiling=1.0, period=10.0)
    poll.after(5)

    assert all(delay is not None and delay <= 1.0 for delay in delays(poll, 10))


def test_a_queue_with_a_rate_that_stays_empty_is_left_to_the_tick() -> None:
    poll = _Poll(ceiling=1.0, period=10.0)
    poll.after(5)
    poll.found_at -= 13.0

    assert delays(poll, 10)[-1] is None
