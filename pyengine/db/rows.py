"""What the schema's functions return, one class a shape. Field names are the SQL column names."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple


class Registration(NamedTuple):
    executor_id: int
    server_identity: str
    server_time: datetime
    is_latest_version: bool


class Tick(NamedTuple):
    server_time: datetime
    server_identity: str
    oldest_protocol: int
    accepts_unversioned: bool
    holds_liveness: bool
    unheld_fences: list[int] | None
    interrupted_ids: list[str] | None
    interrupted_fences: list[int] | None
    interrupted_reasons: list[str] | None
    ready_queues: list[str] | None
    duties: list[str]
    subjects: list[int | None]


class Greeting(NamedTuple):
    backend_pid: int
    server_identity: str
    is_standby: bool


class HostExecutor(NamedTuple):
    executor_id: int
    nonce: int
    pid: int
    process_started: str
    seat: str
    is_supervised: bool


class WatchedExecutor(NamedTuple):
    executor_id: int
    is_alive: bool
    has_suspects: bool


class Takeover(NamedTuple):
    moved: int
    quarantined: int
    remaining: bool


class Pruning(NamedTuple):
    pruned: int
    remaining: bool


class Rest(NamedTuple):
    may_rest: bool
    reason: str | None
    due_in: float | None
    server_time: datetime
    server_identity: str
    oldest_protocol: int


class Duty(NamedTuple):
    duty: str
    subject: int | None


class StartVerdict(NamedTuple):
    verdict: str
    fence: int | None
    fencing_token: int | None
    deadline: datetime | None
    existing_name: str | None
    existing_class_name: str | None
    existing_config_name: str | None
    existing_status: str | None


class StartsVerdict(NamedTuple):
    left_over: list[int]
    server_time: datetime
    fencing_token: int


class EnqueueVerdict(NamedTuple):
    verdict: str
    holder_id: str | None
    existing_name: str | None
    existing_class_name: str | None
    existing_config_name: str | None
    existing_queue: str | None
    existing_status: str | None


class CheckpointVerdict(NamedTuple):
    verdict: str
    name: str | None
    output: bytes | None
    error: bytes | None
    child_id: str | None


class SleepVerdict(NamedTuple):
    verdict: str
    name: str | None
    wake_at: datetime | None
    remaining: timedelta | None


class SleepsVerdict(NamedTuple):
    left_over: list[int]
    server_time: datetime
    kept_ids: list[str] | None
    kept_step_ids: list[int] | None
    kept_until: list[datetime] | None


class Checkpoint(NamedTuple):
    step_id: int
    name: str | None
    output: bytes | None
    error: bytes | None
    child_id: str | None
    wake_at: datetime | None
    attempt_errors: list[bytes | None] | None


class Claim(NamedTuple):
    verdict: str
    workflow_id: str
    fence: int
    fencing_token: int
    name: str
    class_name: str | None
    config_name: str | None
    inputs: bytes | None
    queue: str | None
    partition_key: str | None
    priority: int
    app_version: str | None
    attempts: int
    crashes: int
    replay: bool
    deadline: datetime | None
    parent_id: str | None
    authenticated_user: str | None
    assumed_role: str | None
    authenticated_roles: list[str] | None
    attributes: dict[str, Any] | None
    schedule_name: str | None
    low_water: int | None
    lanes_served_at: datetime | None


class ScheduleState(NamedTuple):
    next_at: datetime
    seconds_until: float


class FireVerdict(NamedTuple):
    verdict: str
    next_at: datetime
    seconds_until: float
    server_time: datetime


class Outcome(NamedTuple):
    workflow_id: str
    status: str
    output: bytes | None
    error: bytes | None


class WorkflowRow(NamedTuple):
    workflow_id: str
    status: str
    name: str
    class_name: str | None
    config_name: str | None
    authenticated_user: str | None
    assumed_role: str | None
    authenticated_roles: list[str] | None
    input: bytes | None
    output: bytes | None
    error: bytes | None
    created_at_ms: int
    updated_at_ms: int
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
    parent_workflow_id: str | None
    dequeued_at_ms: int | None
    delay_until_epoch_ms: int | None
    completed_at_ms: int | None
    attributes: dict[str, Any] | None
    schedule_name: str | None
    recovery_attempts: int


class StepRow(NamedTuple):
    step_id: int
    name: str
    output: bytes | None
    error: bytes | None
    child_id: str | None
    wake_at: datetime | None
    started_at_ms: int
    completed_at_ms: int


class StrandedVersion(NamedTuple):
    app_version: str | None
    unfinished: int


class Finding(NamedTuple):
    invariant: int | None
    subject: str
    problem: str
    remedy: str
