"""Calls that can share a transaction with others of their kind: for each, the function for one and the one for many.

The function for many does what is usual and names the positions it left over; those are asked for singly, and there is
where verdicts other than the usual one come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Generic, TypeVar

from . import arrays, calls
from .function import Function
from .rows import CheckpointVerdict, EnqueueVerdict, SleepVerdict, StartVerdict

R = TypeVar("R")

Arguments = dict[str, Any]
_Pack = Callable[[Sequence[Any]], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """An argument of the function for one that becomes an array; null when it is null for the whole batch."""

    one: str
    many: str
    pack: _Pack

    def gather(self, rows: Sequence[Arguments]) -> Any:
        values = [row[self.one] for row in rows]
        return None if values.count(None) == len(values) else self.pack(values)


@dataclass(frozen=True, eq=False)
class Batch(Generic[R]):
    """`shared`: arguments that must be the same for all rows of a call, the executor's among them. `payloads`: what can
    be large, by its length. `done` is the verdict on a row that the function for many took, of the row's arguments and
    what that function returned.
    """

    one: Function[R]
    many: Function[Any]
    shared: tuple[str, ...]
    columns: tuple[Column, ...]
    payloads: tuple[str, ...]
    left_over: Callable[[Any], Sequence[int]]
    done: Callable[[Arguments, Any], R]

    def key(self, arguments: Arguments) -> tuple[Any, ...]:
        """What rows of one call have in common."""
        return (self.one.name, *[arguments[name] for name in self.shared])

    def size(self, arguments: Arguments) -> int:
        """What a row adds to a batch that must not grow too large."""
        size = 0
        for name in self.payloads:
            payload = arguments[name]
            if payload is not None:
                size += len(payload)
        return size

    def gather(self, rows: Sequence[Arguments]) -> Arguments:
        """The arguments of one call for all these rows."""
        together: Arguments = {name: rows[0][name] for name in self.shared}
        for column in self.columns:
            together[column.many] = column.gather(rows)
        return together


def _own(reply: Any) -> Any:
    return reply


def _left_over(reply: Any) -> Sequence[int]:
    return reply.left_over  # type: ignore[no-any-return]


def _seconds(values: Sequence[Any]) -> arrays.DoubleArray:
    return arrays.doubles([value.total_seconds() for value in values])


def _lists(values: Sequence[Any]) -> arrays.JsonbArray:
    """Arrays of arrays are rectangular in Postgres: lists of any length go as JSON."""
    return arrays.jsonbs([None if value is None else json.dumps(value) for value in values])


def _utc(instant: datetime) -> datetime:
    """Sums and differences within one time zone are those of its clocks on the wall, which are put forward and back."""
    return instant.astimezone(timezone.utc)


def _started(arguments: Arguments, reply: Any) -> StartVerdict:
    limits = [arguments["deadline"]] if arguments["deadline"] is not None else []
    if arguments["timeout"] is not None:
        limits.append(_utc(reply.server_time) + arguments["timeout"])
    return _STARTED._replace(
        fence=arguments["fence"], fencing_token=reply.fencing_token, deadline=min(limits) if limits else None
    )


def _asleep(arguments: Arguments, reply: Any) -> SleepVerdict:
    name, duration = arguments["name"], arguments["duration"]
    if reply.kept_ids is not None:
        asked = (arguments["workflow_id"], arguments["step_id"])
        for workflow_id, step_id, wake_at in zip(reply.kept_ids, reply.kept_step_ids, reply.kept_until, strict=True):
            if (workflow_id, step_id) == asked:
                left = _utc(wake_at) - _utc(reply.server_time)
                return SleepVerdict("existing", name, wake_at, max(left, timedelta(0)))
    return SleepVerdict("stored", name, _utc(reply.server_time) + duration, duration)


_STARTED = StartVerdict("yours", *[None] * (len(StartVerdict._fields) - 1))
_STORED = CheckpointVerdict("stored", *[None] * (len(CheckpointVerdict._fields) - 1))
_ENQUEUED = EnqueueVerdict("yours", *[None] * (len(EnqueueVerdict._fields) - 1))

_HEADER = (
    Column("start_token", "start_tokens", arrays.bigints),
    Column("workflow_id", "workflow_ids", arrays.texts),
    Column("name", "names", arrays.texts),
    Column("class_name", "class_names", arrays.texts),
    Column("config_name", "config_names", arrays.texts),
    Column("inputs", "inputs", arrays.payloads),
    Column("timeout", "timeouts", arrays.intervals),
    Column("deadline", "deadlines", list),
    Column("max_recovery_attempts", "max_recovery_attempts", arrays.integers),
    Column("attributes", "attributes", arrays.jsonbs),
    Column("authenticated_user", "authenticated_users", arrays.texts),
    Column("assumed_role", "assumed_roles", arrays.texts),
    Column("authenticated_roles", "authenticated_roles", _lists),
    Column("parent_id", "parent_ids", arrays.texts),
    Column("parent_fence", "parent_fences", arrays.bigints),
    Column("parent_step_id", "parent_step_ids", arrays.integers),
)

STARTS: Batch[StartVerdict] = Batch(
    one=calls.start_workflow,
    many=calls.start_workflows,
    shared=("executor_id", "nonce", "application", "app_version"),
    columns=(Column("fence", "fences", arrays.bigints), *_HEADER),
    payloads=("inputs", "attributes"),
    left_over=_left_over,
    done=_started,
)
ENQUEUES: Batch[EnqueueVerdict] = Batch(
    one=calls.enqueue_workflow,
    many=calls.enqueue_workflows,
    shared=("executor_id", "nonce", "application"),
    columns=(
        *_HEADER,
        Column("app_version", "app_versions", arrays.texts),
        Column("queue", "queues", arrays.texts),
        Column("partition_key", "partition_keys", arrays.texts),
        Column("priority", "priorities", arrays.integers),
        Column("deduplication_id", "deduplication_ids", arrays.texts),
        Column("delay", "delays", arrays.intervals),
        Column("schedule_name", "schedule_names", arrays.texts),
    ),
    payloads=("inputs", "attributes"),
    left_over=_own,
    done=lambda arguments, reply: _ENQUEUED,
)
CHECKPOINTS: Batch[CheckpointVerdict] = Batch(
    one=calls.record_checkpoint,
    many=calls.record_checkpoints,
    shared=("executor_id", "nonce"),
    columns=(
        Column("workflow_id", "workflow_ids", arrays.texts),
        Column("fence", "fences", arrays.bigints),
        Column("step_id", "step_ids", arrays.integers),
        Column("name", "names", arrays.texts),
        Column("output", "outputs", arrays.payloads),
        Column("error", "errors", arrays.payloads),
        Column("child_id", "child_ids", arrays.texts),
        Column("elapsed", "elapsed", _seconds),
    ),
    payloads=("output", "error"),
    left_over=_own,
    done=lambda arguments, reply: _STORED,
)
SLEEPS: Batch[SleepVerdict] = Batch(
    one=calls.record_sleep,
    many=calls.record_sleeps,
    shared=("executor_id", "nonce", "name"),
    columns=(
        Column("workflow_id", "workflow_ids", arrays.texts),
        Column("fence", "fences", arrays.bigints),
        Column("step_id", "step_ids", arrays.integers),
        Column("duration", "durations", _seconds),
    ),
    payloads=(),
    left_over=_left_over,
    done=_asleep,
)
ATTEMPTS: Batch[str] = Batch(
    one=calls.record_attempt,
    many=calls.record_attempts,
    shared=("executor_id", "nonce"),
    columns=(
        Column("workflow_id", "workflow_ids", arrays.texts),
        Column("fence", "fences", arrays.bigints),
        Column("step_id", "step_ids", arrays.integers),
        Column("attempt", "attempts", arrays.integers),
        Column("error", "errors", arrays.payloads),
    ),
    payloads=("error",),
    left_over=_own,
    done=lambda arguments, reply: "ok",
)
FINISHES: Batch[str] = Batch(
    one=calls.finish_workflow,
    many=calls.finish_workflows,
    shared=("executor_id", "nonce"),
    columns=(
        Column("workflow_id", "workflow_ids", arrays.texts),
        Column("fence", "fences", arrays.bigints),
        Column("status", "statuses", arrays.texts),
        Column("output", "outputs", arrays.payloads),
        Column("error", "errors", arrays.payloads),
    ),
    payloads=("output", "error"),
    left_over=_own,
    done=lambda arguments, reply: "ok",
)
