"""How workflows and steps look, in tables and in JSON (whose names are those of the API's status and step objects)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ..db.rows import StepRow, WorkflowRow
from . import payloads

WORKFLOW_COLUMNS = ("id", "status", "name", "created", "queue", "executor", "version", "attempts")
STEP_COLUMNS = ("step", "name", "started", "ended", "result", "child")

_RENAMED = {
    "created_at_ms": "created_at",
    "updated_at_ms": "updated_at",
    "dequeued_at_ms": "dequeued_at",
    "completed_at_ms": "completed_at",
}
_SHORT = 60


def workflow_as_json(row: WorkflowRow) -> dict[str, Any]:
    values = {_RENAMED.get(name, name): value for name, value in row._asdict().items()}
    return {
        **values,
        "input": payloads.read(row.input),
        "output": payloads.read(row.output),
        "error": payloads.read_error(row.error),
    }


def workflow_row(row: WorkflowRow) -> tuple[Any, ...]:
    return (
        row.workflow_id,
        row.status,
        row.name,
        moment(row.created_at_ms),
        row.queue_name,
        row.executor_id,
        _cut(row.app_version, 12),
        row.recovery_attempts,
    )


def workflow_details(row: WorkflowRow) -> list[tuple[str, Any]]:
    found = workflow_as_json(row)
    details: list[tuple[str, Any]] = []
    for name, value in found.items():
        if name in _RENAMED.values() or name.endswith("_epoch_ms"):
            value = moment(value)
        elif name in ("input", "output") and getattr(row, name) is not None:
            value = repr(value)
        details.append((name.removesuffix("_epoch_ms"), value))
    return details


def step_as_json(step: StepRow) -> dict[str, Any]:
    return {
        "function_id": step.step_id,
        "function_name": step.name,
        "output": payloads.read(step.output),
        "error": payloads.read_error(step.error),
        "child_workflow_id": step.child_id,
        "started_at_epoch_ms": step.started_at_ms,
        "completed_at_epoch_ms": step.completed_at_ms,
        "wake_at": None if step.wake_at is None else step.wake_at.isoformat(),
    }


def step_row(step: StepRow) -> tuple[Any, ...]:
    if step.error is not None:
        result = payloads.read_error(step.error)
    elif step.wake_at is not None:
        result = f"until {_iso(step.wake_at)}"
    else:
        result = None if step.output is None else repr(payloads.read(step.output))
    return (
        step.step_id,
        step.name,
        moment(step.started_at_ms),
        moment(step.completed_at_ms),
        _cut(result, _SHORT),
        step.child_id,
    )


def moment(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else _iso(datetime.fromtimestamp(milliseconds / 1000, timezone.utc))


def _iso(instant: datetime) -> str:
    return instant.astimezone(timezone.utc).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _cut(text: str | None, length: int) -> str | None:
    return text if text is None or len(text) <= length else f"{text[: length - 1]}…"
