"""A session keeps the plans it made on empty tables: a batch must cost the same when they have filled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from plugins.batching import (
    ATTEMPTS,
    CHECKPOINTS,
    ENQUEUES,
    FINISHES,
    SLEEPS,
    STARTS,
    attempt_row,
    checkpoint_row,
    enqueue_row,
    finish_row,
    many,
    parent_of,
    sleep_row,
    start_row,
)
from plugins.executors import Connection, Executor, Row, rows_read
from plugins.queueing import put_queue

SIZE = 20
TABLES = ("workflows", "in_flight", "outcomes", "checkpoints", "step_attempts", "lanes")


def fill(connection: Connection, count: int) -> None:
    """Workflows of others, in flight and ended, each with steps; some hold keys or run for an executor."""
    connection.execute(
        "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
        f" select 'x' || n, 'flow', 'app', n, pyengine._now() from generate_series(1, {2 * count}) as n"
    )
    connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, app_version, deduplication_id)"
        " select 'x' || n, 'ENQUEUED', 'q', 'app', 'v1', case when n % 2 = 0 then 'x' || n end"
        f" from generate_series(1, {count}) as n"
    )
    connection.execute(
        "update pyengine.in_flight set status = 'PENDING', executor_id = 1,"
        " fence = 1000000 + substr(workflow_id, 2)::bigint where right(workflow_id, 1) = '7' and workflow_id like 'x%'"
    )
    connection.execute(
        "insert into pyengine.outcomes (workflow_id, status, completed_at, priority, attempts, crashes)"
        f" select 'x' || n, 'SUCCESS', pyengine._now(), 0, 1, 0 from generate_series({count + 1}, {2 * count}) as n"
    )
    connection.execute(
        "insert into pyengine.checkpoints (workflow_id, step_id, name, started_at, completed_at)"
        " select 'x' || n, s, 'step', pyengine._now(), pyengine._now()"
        f" from generate_series(1, {2 * count}) as n, generate_series(1, 2) as s"
    )
    connection.execute(
        "insert into pyengine.step_attempts (workflow_id, step_id, attempt, error, failed_at)"
        " select 'x' || n, 3, a, 'e', pyengine._now()"
        f" from generate_series(1, {count}) as n, generate_series(1, 2) as a"
    )


def batches(executor: Executor, name: str, fence: int) -> dict[str, tuple[Callable[[], list[int]], list[int]]]:
    connection = executor.connection
    ids = [f"{name}{place}" for place in range(SIZE)]
    starts: list[Row] = [
        start_row(executor, each, fence, **parent_of(f"{name}p", 5, 1000000 + n)) for n, each in enumerate(ids)
    ]
    starts.append(start_row(executor, ids[0]))
    steps = [checkpoint_row(executor, each, fence, step_id) for each in ids for step_id in (1, 2)]
    steps.append(checkpoint_row(executor, ids[0], fence, 1))
    steps.append(checkpoint_row(executor, f"{name}p", 5, 1))
    # A sleep of a claim that is not held, and one under the number of another step.
    sleeps = [sleep_row(executor, each, fence, step_id) for each in ids for step_id in (3, 4)]
    sleeps += [sleep_row(executor, ids[0], 5, 5), sleep_row(executor, f"{name}p", 5, 1)]
    failed = [attempt_row(executor, each, fence, attempt, step_id=5) for each in ids for attempt in (1, 2)]
    failed.append(attempt_row(executor, ids[0], 5))
    ends = [finish_row(executor, each, fence) for each in ids] + [finish_row(executor, ids[0], fence)]
    queued = [
        enqueue_row(executor, f"{name}q{n}", deduplication_id=f"{name}{n % (SIZE - 1)}", timeout=timedelta(1))
        for n in range(SIZE)
    ]
    queued += [
        enqueue_row(executor, f"{name}r{n}", queue="parts", partition_key="k", **parent_of(f"{name}p", 5, 2000000 + n))
        for n in range(SIZE)
    ]
    return {
        "starts": (lambda: many(connection, STARTS, starts), [SIZE + 1]),
        "checkpoints": (lambda: many(connection, CHECKPOINTS, steps), [2 * SIZE + 1, 2 * SIZE + 2]),
        "sleeps": (lambda: many(connection, SLEEPS, sleeps), [2 * SIZE + 1, 2 * SIZE + 2]),
        "repeated sleeps": (lambda: many(connection, SLEEPS, sleeps), [2 * SIZE + 1, 2 * SIZE + 2]),
        "attempts": (lambda: many(connection, ATTEMPTS, failed), [2 * SIZE + 1]),
        "repeated attempts": (lambda: many(connection, ATTEMPTS, failed), [2 * SIZE + 1]),
        "finishes": (lambda: many(connection, FINISHES, ends), [SIZE + 1]),
        "enqueues": (lambda: many(connection, ENQUEUES, queued), [SIZE]),
        "repeated enqueues": (lambda: many(connection, ENQUEUES, queued), list(range(1, 2 * SIZE + 1))),
        "repeated checkpoints": (lambda: many(connection, CHECKPOINTS, steps[:3]), [1, 2, 3]),
    }


def put_parent(executor: Executor, name: str, steps: int) -> None:
    executor.start(f"{name}p", fence=5)
    executor.connection.execute(
        "insert into pyengine.checkpoints (workflow_id, step_id, name, started_at, completed_at)"
        " select %s, s, 'step', now(), now() from generate_series(1, %s) as s",
        (f"{name}p", steps),
    )


@pytest.mark.parametrize(("count", "statistics"), [(0, "old"), (1_000, "old"), (100_000, "old"), (1_000, "new")])
def test_a_batch_reads_no_more_than_its_rows(
    executor: Executor, session_factory: Callable[..., Connection], count: int, statistics: str
) -> None:
    """Warmed on empty tables, under plans that are kept for good, whatever is known of the tables."""
    other = session_factory()
    for table in TABLES:
        other.execute(f"alter table pyengine.{table} set (autovacuum_enabled = off)".encode())
    put_queue(other, "parts", is_partitioned=True)
    executor.connection.execute("set plan_cache_mode = force_generic_plan")
    if statistics == "old":
        put_parent(executor, "warm", 1)
        for make, _ in batches(executor, "warm", 7).values():
            make()
    fill(other, count)
    put_parent(executor, "w", 3000)
    if statistics == "new":
        other.execute("analyze")
    executor.connection.autocommit = False

    for kind, (make, left_over) in batches(executor, "w", 9).items():
        before = rows_read(executor.connection)
        assert sorted(make()) == left_over, kind
        found = rows_read(executor.connection) - before
        executor.connection.commit()
        # Each row is looked at a few times; a plan gone wrong reads thousands.
        assert {table: n for table, n in found.items() if n > 10 * SIZE} == {}, kind
