"""How long what has finished is kept."""

from __future__ import annotations

from datetime import timedelta

# Nothing is older, and Postgres' calendar reaches no further back by much.
_FOR_EVER_DAYS = 1_000_000


def period(days: float) -> timedelta | None:
    """None: for ever."""
    if not 0 < days < _FOR_EVER_DAYS:
        return None
    return max(timedelta(days=days), timedelta.resolution)


def describe(days: float) -> str:
    """For the log, at the start."""
    if period(days) is None:
        return "finished workflows are kept for ever (retention_days)"
    return f"finished workflows are removed after {days:g} day{'' if days == 1 else 's'} (retention_days)"
