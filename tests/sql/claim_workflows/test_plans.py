"""A session keeps the plans it made on empty tables: they must still be right when there is a backlog."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest

from plugins.executors import Connection, Executor
from plugins.queueing import claim, enqueue, put_queue

BACKLOG = 20_000


class Explained:
    def __init__(self, connection: Connection) -> None:
        self.plans: list[str] = []
        try:
            connection.execute("load 'auto_explain'")
        except psycopg.Error as error:
            pytest.skip(f"this role may not load auto_explain: {error}")
        connection.add_notice_handler(lambda notice: self.plans.append(notice.message_primary or ""))
        for setting in ("log_min_duration = 0", "log_nested_statements = on", "log_analyze = on", "log_timing = off"):
            connection.execute(f"set auto_explain.{setting}")
        connection.execute("set plan_cache_mode = force_generic_plan")
        connection.execute("set client_min_messages = log")

    def rows_read(self) -> int:
        """The most rows that one node of any plan returned or threw away."""
        text = "\n".join(self.plans)
        found = re.findall(r"actual rows=([\d.]+) loops=(\d+)", text)
        removed = re.findall(r"Rows Removed by (?:Index )?(?:Recheck|Filter): (\d+)", text)
        return max([int(float(rows)) * int(loops) for rows, loops in found] + [int(rows) for rows in removed])


@pytest.fixture
def warmed(executor: Executor) -> Executor:
    """Has claimed from all kinds of queues when they were all but empty; statistics stay as they were then."""
    connection = executor.connection
    for table in ("workflows", "in_flight", "lanes", "queue_starts"):
        connection.execute(f"alter table pyengine.{table} set (autovacuum_enabled = off)")
    put_queue(connection, "limited", concurrency=1000, worker_concurrency=1000, rate_limit=1000, rate_period="1 hour")
    put_queue(connection, "parts", is_partitioned=True)
    put_queue(connection, "limited parts", partition_concurrency=10, partition_rate_limit=9, partition_rate_period="1h")
    return executor


def warm_up(executor: Executor) -> None:
    for queue in ("q", "limited", "parts", "limited parts"):
        for round_ in range(2):
            claim(executor, queue)
            key = "first" if "parts" in queue else None
            enqueue(executor.connection, f"{queue}{round_}", queue=queue, partition_key=key)
            claim(executor, queue)


def fill(connection: Connection) -> None:
    connection.execute(
        "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
        f" select 'w' || n, 'flow', 'app', n, pyengine._now() from generate_series(1, {BACKLOG}) as n"
    )
    connection.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, app_version, partition_key)"
        " select 'w' || n, 'ENQUEUED', (array['q', 'limited', 'parts', 'limited parts'])[1 + n % 4], 'app',"
        "   (array['v1', null, 'v0'])[1 + n % 3], case when n % 4 > 1 then 'k' || n % 1000 end"
        f" from generate_series(1, {BACKLOG}) as n"
    )
    connection.execute(
        "insert into pyengine.lanes (queue, application, partition_key, served_at)"
        " select f.queue, 'app', f.partition_key, pyengine._now() from pyengine.in_flight as f"
        " where f.partition_key is not null and f.status = 'ENQUEUED' group by f.queue, f.partition_key"
        " on conflict do nothing"
    )


@pytest.mark.parametrize("queue", ["q", "limited", "parts", "limited parts"])
def test_a_plan_made_on_an_empty_queue_stays_right(
    warmed: Executor, session_factory: Callable[..., Connection], queue: str
) -> None:
    explained = Explained(warmed.connection)
    warm_up(warmed)
    fill(session_factory())
    explained.plans.clear()

    assert len(claim(warmed, queue, 20)) == 20
    assert explained.rows_read() < 500
