"""What status reads return, and how it is made from rows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any, TypedDict, TypeVar

from ..db.rows import StepRow, WorkflowRow
from ..errors import DBOSException
from ..serialization import Codec


class WorkflowStatusString(str, Enum):
    """Where a workflow stands."""

    PENDING = "PENDING"
    ENQUEUED = "ENQUEUED"
    DELAYED = "DELAYED"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"
    MAX_RECOVERY_ATTEMPTS_EXCEEDED = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"

    def __str__(self) -> str:
        return self.value


@dataclass(slots=True)
class WorkflowStatus:
    """A workflow as the database knows it. Times are epoch milliseconds; input is {"args": …, "kwargs": …}."""

    workflow_id: str
    status: str
    name: str
    class_name: str | None
    config_name: str | None
    authenticated_user: str | None
    assumed_role: str | None
    authenticated_roles: list[str] | None
    input: dict[str, Any] | None
    output: Any
    error: BaseException | None
    created_at: int | None
    updated_at: int | None
    queue_name: str | None
    executor_id: str | None
    app_version: str | None
    app_id: str | None
    application_name: str | None
    workflow_timeout_ms: int | None
    workflow_deadline_epoch_ms: int | None
    deduplication_id: str | None
    priority: int | None
    queue_partition_key: str | None
    forked_from: str | None
    was_forked_from: bool
    parent_workflow_id: str | None
    dequeued_at: int | None
    delay_until_epoch_ms: int | None
    completed_at: int | None
    attributes: dict[str, Any] | None
    schedule_name: str | None
    recovery_attempts: int | None


class StepInfo(TypedDict):
    """A step as the database knows it. Times are epoch milliseconds."""

    function_id: int
    function_name: str
    output: Any
    error: BaseException | None
    child_workflow_id: str | None
    started_at_epoch_ms: int | None
    completed_at_epoch_ms: int | None


Row = TypeVar("Row", WorkflowRow, StepRow)

_PAYLOADS = ("input", "output", "error")


def pack(rows: Sequence[WorkflowRow | StepRow]) -> list[dict[str, Any]]:
    """Rows as plain JSON: what a workflow reads is a checkpoint of it, whatever the values in it are and whatever
    serializer is configured.
    """
    return [_packed(row._asdict()) for row in rows]


def _packed(values: dict[str, Any]) -> dict[str, Any]:
    for name in _PAYLOADS:
        if values.get(name) is not None:
            values[name] = base64.b64encode(values[name]).decode("ascii")
    if values.get("wake_at") is not None:
        values["wake_at"] = values["wake_at"].isoformat()
    return values


def unpack(kind: type[Row], packed: list[dict[str, Any]]) -> list[Row]:
    return [kind(**_unpacked(dict(values))) for values in packed]


def _unpacked(values: dict[str, Any]) -> dict[str, Any]:
    for name in _PAYLOADS:
        if values.get(name) is not None:
            values[name] = base64.b64decode(values[name])
    if values.get("wake_at") is not None:
        values["wake_at"] = datetime.fromisoformat(values["wake_at"])
    return values


def workflow_status(row: WorkflowRow, codec: Codec) -> WorkflowStatus:
    fields = row._asdict()
    fields["created_at"] = fields.pop("created_at_ms")
    fields["updated_at"] = fields.pop("updated_at_ms")
    fields["dequeued_at"] = fields.pop("dequeued_at_ms")
    fields["completed_at"] = fields.pop("completed_at_ms")
    fields["input"] = codec.describe(row.input)
    fields["output"] = codec.describe(row.output)
    fields["error"] = codec.describe(row.error)
    return WorkflowStatus(was_forked_from=False, **fields)


def step_info(row: StepRow, codec: Codec) -> StepInfo:
    # A sleep's outcome is the instant it ends, as in the peer: epoch seconds.
    output = row.wake_at.timestamp() if row.wake_at is not None else codec.describe(row.output)
    return {
        "function_id": row.step_id,
        "function_name": row.name,
        "output": output,
        "error": codec.describe(row.error),
        "child_workflow_id": row.child_id,
        "started_at_epoch_ms": row.started_at_ms,
        "completed_at_epoch_ms": row.completed_at_ms,
    }


def texts(value: str | list[str] | None) -> list[str] | None:
    """A filter: one value or a list of them."""
    if value is None:
        return None
    return [str(value)] if isinstance(value, str) else [str(item) for item in value]


def instant(name: str, value: str | datetime | None, *, is_end: bool = False) -> datetime | None:
    """An ISO 8601 text, of UTC unless it says otherwise. As an end it holds for the whole of its millisecond, which
    is as exactly as instants are told.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError as error:
            raise DBOSException(
                f"{name} must be an ISO 8601 time such as 2026-01-31T12:00:00Z, not {value!r}"
            ) from error
    if is_end and value.microsecond % 1000 == 0:
        value = value.replace(microsecond=value.microsecond + 999)
    return value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
