"""Driving queues, claims and schedules directly: an enqueue with everything defaulted, a claim that returns ids."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from plugins.executors import Connection, Executor, Row, row, rows, token, value

_LIMITS = (
    "concurrency", "worker_concurrency", "rate_limit", "rate_period", "is_partitioned", "partition_concurrency",
    "partition_worker_concurrency", "partition_rate_limit", "partition_rate_period",
)  # fmt: skip
_ENQUEUE = (
    "executor_id", "nonce", "class_name", "config_name", "inputs", "partition_key", "priority", "deduplication_id",
    "delay", "timeout", "deadline", "max_recovery_attempts", "attributes", "authenticated_user", "assumed_role",
    "authenticated_roles", "schedule_name", "parent_id", "parent_fence", "parent_step_id",
)  # fmt: skip
_FILTERS = (
    "workflow_ids", "id_prefixes", "statuses", "names", "app_versions", "queues", "users", "executor_labels",
    "parent_ids", "forked_from", "schedule_names", "applications", "created_after", "created_before",
    "completed_after", "completed_before", "dequeued_after", "dequeued_before", "attributes", "queues_only",
    "has_parent", "is_fork", "limit", "offset", "sort_desc", "load_input", "load_output",
)  # fmt: skip


def put_queue(connection: Connection, queue: str = "q", **limits: Any) -> None:
    rows(connection, "put_queue", application="app", queue=queue, **(dict.fromkeys(_LIMITS) | limits))


def enqueue(connection: Connection, workflow_id: str, **arguments: Any) -> Row:
    """As a client does, unless `**executor.me` is given."""
    given: Row = dict.fromkeys(_ENQUEUE)
    given |= {"start_token": token(), "workflow_id": workflow_id, "name": "flow", "queue": "q"}
    given |= {"application": "app", "app_version": "v1"}
    return row(connection, "enqueue_workflow", **(given | arguments))


def claim_rows(
    executor: Executor,
    queue: str = "q",
    limit: int = 10,
    fence: int | None = None,
    unversioned: bool = True,
    suspects: str = "any",
    mark: Mapping[int, int] | None = None,
    lanes: Mapping[tuple[str, int], int] | None = None,
    served_at: datetime | None = None,
) -> list[Row]:
    """`mark`: of a priority, the seq from which on it is looked at; `lanes`: of a partition and priority."""
    claim: Row = {"fence": fence or token(), "queue": queue, "limit": limit, "unversioned": unversioned}
    claim |= {"from_priorities": mark and sorted(mark), "from_seqs": mark and [mark[each] for each in sorted(mark)]}
    claim |= {"from_partitions": None, "from_served_at": None}
    if lanes is not None:
        keys = sorted(lanes)
        claim |= {"from_partitions": [key for key, _ in keys] or None, "from_served_at": served_at}
        claim |= {"from_priorities": [priority for _, priority in keys] or None}
        claim |= {"from_seqs": [lanes[each] for each in keys] or None}
    return rows(executor.connection, "claim_workflows", **executor.me, **claim, suspects=suspects)


def claim(executor: Executor, queue: str = "q", limit: int = 10, **arguments: Any) -> list[str]:
    """Ids in the order of the claim; `['busy']` when the queue's lock was lost."""
    found = claim_rows(executor, queue, limit, **arguments)
    return [each["workflow_id"] or each["verdict"] for each in found]


def cancel(connection: Connection, workflow_id: str) -> str:
    found: str = value(connection, "cancel_workflow", workflow_id=workflow_id)
    return found


def resume(connection: Connection, workflow_id: str, queue: str | None = None) -> str:
    found: str = value(connection, "resume_workflow", workflow_id=workflow_id, queue=queue)
    return found


def list_workflows(connection: Connection, **filters: Any) -> list[Row]:
    return rows(connection, "list_workflows", **(dict.fromkeys(_FILTERS) | filters))


def doctor(connection: Connection) -> list[tuple[int, str]]:
    return [(found["invariant"], found["subject"]) for found in rows(connection, "doctor")]
