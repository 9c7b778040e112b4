"""What may be asked for: ids, times and priorities are checked before anything is written."""

from __future__ import annotations

import math

from ..errors import DBOSException

MAX_PRIORITY = 2**31 - 1
_LONGEST_SECONDS = 100 * 366 * 86_400


def check_workflow_id(workflow_id: str) -> str:
    if not isinstance(workflow_id, str) or not workflow_id.strip():
        raise DBOSException(f"a workflow id must be a non-empty string, not {workflow_id!r}")
    if "\0" in workflow_id or not is_utf8(workflow_id):
        raise DBOSException(f"a workflow id must be text that Postgres can store, not {workflow_id!r}")
    return workflow_id


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_seconds(name: str, value: float | None, *, allow_zero: bool = False) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (value == 0 and not allow_zero):
        raise DBOSException(f"{name} must be a positive number of seconds, not {value!r}")
    if value > _LONGEST_SECONDS:
        raise DBOSException(f"{name} must be at most a hundred years, not {value!r} seconds")
    return float(value)


def check_priority(value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PRIORITY:
        raise DBOSException(f"priority must be a whole number from 1 (first) to {MAX_PRIORITY}, not {value!r}")
    return value
