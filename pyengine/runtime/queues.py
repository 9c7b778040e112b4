"""Telling the database of a queue that the program declares: limits are decided there."""

from __future__ import annotations

from datetime import timedelta

from ..db import calls
from ..db.database import Database
from .registry import QueueSpec


def put_queue(database: Database, application: str, queue: QueueSpec) -> None:
    database.one(
        calls.put_queue,
        application=application,
        queue=queue.name,
        concurrency=queue.concurrency,
        worker_concurrency=queue.worker_concurrency,
        rate_limit=queue.rate_limit,
        rate_period=_interval(queue.rate_period),
        is_partitioned=queue.is_partitioned,
        partition_concurrency=queue.partition_concurrency,
        partition_worker_concurrency=queue.partition_worker_concurrency,
        partition_rate_limit=queue.partition_rate_limit,
        partition_rate_period=_interval(queue.partition_rate_period),
    )


def _interval(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
