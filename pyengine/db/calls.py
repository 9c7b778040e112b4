"""Every function of the schema that the engine calls, mirrored one to one: same name, same arguments without `p_`.

Each is repeatable: tokens minted by the caller make a repeat get the first answer, so all of them may be retried
after a lost reply.
"""

from __future__ import annotations

from . import rows
from .function import Function

_EXECUTOR = "executor_id bigint, nonce bigint"
_CLAIMED = _EXECUTOR + ", workflow_id text, fence bigint"
_FUNCTION_NAME = "name text, class_name text, config_name text"
_AUTHENTICATION = "authenticated_user text, assumed_role text, authenticated_roles text[]"
_PARENT = "parent_id text, parent_fence bigint, parent_step_id integer"
# Of many workflows; what is null for all of them may be null itself.
_NAMES = "start_tokens bigint[], workflow_ids text[], names text[], class_names text[], config_names text[]"
_LIMITS = (
    "timeouts interval[], deadlines timestamptz[], max_recovery_attempts integer[], attributes jsonb[], "
    "authenticated_users text[], assumed_roles text[], authenticated_roles jsonb[]"
)
_PARENTS = "parent_ids text[], parent_fences bigint[], parent_step_ids integer[]"

# executors
register_executor = Function(
    "register_executor",
    "nonce bigint, label text, host text, pid integer, boot_id text, pid_namespace text, process_started text, "
    "application text, app_version text, protocol integer, lease_ttl interval, "
    "seat text, is_supervised boolean, is_isolated boolean, is_pooled boolean",
    rows.Registration,
)
hold_liveness: Function[bool] = Function("hold_liveness", _EXECUTOR)
tick = Function(
    "tick",
    _EXECUTOR + ", held_fences bigint[], queues text[], accepts_unversioned boolean, looks_for_the_dead boolean, "
    "seeks_claims boolean",
    rows.Tick,
)
rest_executor = Function(
    "rest_executor", _EXECUTOR + ", queues text[], accepts_unversioned boolean, rests_for interval", rows.Rest
)
retire_executor: Function[None] = Function("retire_executor", _EXECUTOR + ", reason text")
mark_executor_dead: Function[bool] = Function(
    "mark_executor_dead", _EXECUTOR + ", reason text, detail text, culprit text"
)
watch_executors = Function(
    "watch_executors", "executor_ids bigint[], nonces bigint[], renew boolean", rows.WatchedExecutor
)
list_host_executors = Function("list_host_executors", "boot_id text, pid_namespace text", rows.HostExecutor)
take_over_executor = Function("take_over_executor", "dead_id bigint, limit integer", rows.Takeover)
prune_executors: Function[int] = Function("prune_executors", "limit integer")
housekeep = Function("housekeep", _EXECUTOR + ", looks_for_the_dead boolean", rows.Duty)

# the server
greet = Function("greet", "", rows.Greeting)
await_standby: Function[None] = Function("await_standby", "")

# workflows: from start to outcome
start_workflow = Function(
    "start_workflow",
    f"{_EXECUTOR}, fence bigint, start_token bigint, workflow_id text, {_FUNCTION_NAME}, "
    "application text, app_version text, inputs bytea, timeout interval, deadline timestamptz, "
    f"max_recovery_attempts integer, attributes jsonb, {_AUTHENTICATION}, {_PARENT}",
    rows.StartVerdict,
)
enqueue_workflow = Function(
    "enqueue_workflow",
    f"{_EXECUTOR}, start_token bigint, workflow_id text, {_FUNCTION_NAME}, "
    "application text, app_version text, inputs bytea, queue text, partition_key text, priority integer, "
    "deduplication_id text, delay interval, timeout interval, deadline timestamptz, "
    f"max_recovery_attempts integer, attributes jsonb, {_AUTHENTICATION}, schedule_name text, {_PARENT}",
    rows.EnqueueVerdict,
)
start_workflows = Function(
    "start_workflows",
    f"{_EXECUTOR}, application text, app_version text, fences bigint[], {_NAMES}, inputs bytea[], {_LIMITS}, "
    f"{_PARENTS}",
    rows.StartsVerdict,
)
enqueue_workflows: Function[list[int]] = Function(
    "enqueue_workflows",
    f"{_EXECUTOR}, application text, {_NAMES}, app_versions text[], inputs bytea[], queues text[], "
    f"partition_keys text[], priorities integer[], deduplication_ids text[], delays interval[], {_LIMITS}, "
    f"schedule_names text[], {_PARENTS}",
)
claim_workflows = Function(
    "claim_workflows",
    _EXECUTOR + ", fence bigint, queue text, limit integer, unversioned boolean, suspects text, "
    "from_partitions text[], from_priorities integer[], from_seqs bigint[], from_served_at timestamptz",
    rows.Claim,
)
listen_to_waits: Function[None] = Function("listen_to_waits", "application text, listener text")
notify_waits: Function[None] = Function("notify_waits", "application text, listener text, workflow_ids text[]")
notify_ends: Function[None] = Function("notify_ends", "listeners text[], workflow_ids text[]")
load_claims = Function("load_claims", _EXECUTOR + ", fences bigint[]", rows.Claim)
finish_workflow: Function[str] = Function("finish_workflow", _CLAIMED + ", status text, output bytea, error bytea")
lock_claim: Function[str] = Function("lock_claim", "workflow_id text, fence bigint")
finish_workflows: Function[list[int]] = Function(
    "finish_workflows",
    _EXECUTOR + ", workflow_ids text[], fences bigint[], statuses text[], outputs bytea[], errors bytea[]",
)
cancel_workflow: Function[str] = Function("cancel_workflow", "workflow_id text")
delete_workflow: Function[str] = Function("delete_workflow", "workflow_id text")
resume_workflow: Function[str] = Function("resume_workflow", "workflow_id text, queue text")
expire_deadlines: Function[int] = Function("expire_deadlines", "limit integer")
release_delayed: Function[int] = Function("release_delayed", "limit integer")
put_retention: Function[None] = Function("put_retention", "application text, keep_for interval")
prune_workflows = Function("prune_workflows", "limit integer", rows.Pruning)

# checkpoints
record_checkpoint = Function(
    "record_checkpoint",
    _CLAIMED + ", step_id integer, name text, output bytea, error bytea, child_id text, elapsed interval",
    rows.CheckpointVerdict,
)
record_checkpoints: Function[list[int]] = Function(
    "record_checkpoints",
    _EXECUTOR + ", workflow_ids text[], fences bigint[], step_ids integer[], names text[], outputs bytea[], "
    "errors bytea[], child_ids text[], elapsed double precision[]",
)
record_sleep = Function("record_sleep", _CLAIMED + ", step_id integer, name text, duration interval", rows.SleepVerdict)
record_sleeps = Function(
    "record_sleeps",
    _EXECUTOR + ", name text, workflow_ids text[], fences bigint[], step_ids integer[], durations double precision[]",
    rows.SleepsVerdict,
)
record_attempt: Function[str] = Function("record_attempt", _CLAIMED + ", step_id integer, attempt integer, error bytea")
record_attempts: Function[list[int]] = Function(
    "record_attempts",
    _EXECUTOR + ", workflow_ids text[], fences bigint[], step_ids integer[], attempts integer[], errors bytea[]",
)
load_checkpoints = Function("load_checkpoints", "workflow_id text", rows.Checkpoint)

# queues and schedules
put_queue: Function[None] = Function(
    "put_queue",
    "application text, queue text, concurrency integer, worker_concurrency integer, "
    "rate_limit integer, rate_period interval, is_partitioned boolean, "
    "partition_concurrency integer, partition_worker_concurrency integer, "
    "partition_rate_limit integer, partition_rate_period interval",
)
listen_to_queues: Function[None] = Function("listen_to_queues", "application text")
notify_queues: Function[None] = Function("notify_queues", "application text, queues text[]")
put_schedule = Function(
    "put_schedule",
    "application text, schedule_name text, workflow_name text, cron text, first_at timestamptz",
    rows.ScheduleState,
)
fire_schedule = Function(
    "fire_schedule",
    f"{_EXECUTOR}, application text, schedule_name text, slot timestamptz, next_slot timestamptz, "
    "start_token bigint, workflow_id text, name text, class_name text, app_version text, inputs bytea, "
    "max_recovery_attempts integer",
    rows.FireVerdict,
)

# reading
get_workflows = Function("get_workflows", "workflow_ids text[]", rows.WorkflowRow)
list_workflows = Function(
    "list_workflows",
    "workflow_ids text[], id_prefixes text[], statuses text[], names text[], app_versions text[], "
    "queues text[], users text[], executor_labels text[], parent_ids text[], forked_from text[], "
    "schedule_names text[], applications text[], created_after timestamptz, created_before timestamptz, "
    "completed_after timestamptz, completed_before timestamptz, dequeued_after timestamptz, "
    "dequeued_before timestamptz, attributes jsonb, queues_only boolean, has_parent boolean, "
    "is_fork boolean, limit integer, offset integer, sort_desc boolean, load_input boolean, load_output boolean",
    rows.WorkflowRow,
)
list_steps = Function(
    "list_steps", "workflow_id text, load_output boolean, limit integer, offset integer", rows.StepRow
)
read_outcomes = Function("read_outcomes", "workflow_ids text[]", rows.Outcome)
get_inputs: Function[bytes | None] = Function("get_inputs", "workflow_id text")
stranded_versions = Function("stranded_versions", "application text", rows.StrandedVersion)
doctor = Function("doctor", "", rows.Finding)

ALL: tuple[Function[object], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Function))
