from __future__ import annotations

from datetime import timedelta

import pytest

from pyengine.runtime.retention import describe, period


@pytest.mark.parametrize(
    ("days", "kept"),
    [(30, timedelta(days=30)), (0.5, timedelta(hours=12)), (1e-12, timedelta.resolution), (0, None), (1e12, None)],
)
def test_zero_means_for_ever_and_so_does_what_no_calendar_holds(days: float, kept: timedelta | None) -> None:
    assert period(days) == kept


@pytest.mark.parametrize(
    ("days", "said"), [(30, "after 30 days"), (1, "after 1 day "), (0.5, "0.5 days"), (0, "for ever")]
)
def test_the_log_says_so(days: float, said: str) -> None:
    assert said in describe(days)
