"""The slots of a cron expression, and how a slot is handed to its workflow."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from croniter import croniter


def check_cron(cron: str) -> None:
    """Raise ValueError unless this is a cron expression of 5 fields, or of 6 with seconds first."""
    if not isinstance(cron, str) or len(cron.split()) not in (5, 6):
        raise ValueError(f"a schedule has 5 fields, or 6 with seconds first, not {cron!r}")
    try:
        # The next slot, too: the 30th of February is well-formed and never comes.
        slot_after(cron, datetime.now(timezone.utc))
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{cron!r} is not a cron expression: {error}") from error


def slot_after(cron: str, instant: datetime) -> datetime:
    """The first slot later than an instant, in UTC."""
    slots = croniter(cron, instant.astimezone(timezone.utc), second_at_beginning=True)
    following: datetime = slots.get_next(datetime)
    return following


def slot_arguments(slot: datetime, now: datetime) -> tuple[str, str]:
    """(scheduled, actual) as they are stored: text, so that no pickle is needed and everybody can read it."""
    return slot.isoformat(), max(slot, now).astimezone(timezone.utc).isoformat()


def read_slot_arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(datetime.fromisoformat(each) if isinstance(each, str) else each for each in args)
