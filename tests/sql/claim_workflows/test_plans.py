"""A session keeps the plans it made on empty tables: they must still be right when there is a backlog."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plugins.executors import Connection, Executor, read, rows_read
from plugins.queueing import claim, enqueue, put_queue

BACKLOG = 20_000


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


def warm_up(executor: Executor, suspects: str = "any") -> None:
    for queue in ("q", "limited", "parts", "limited parts"):
        for round_ in range(2):
            claim(executor, queue, suspects=suspects)
            key = "first" if "parts" in queue else None
            enqueue(executor.connection, f"{queue}{round_}", queue=queue, partition_key=key)
            claim(executor, queue, suspects=suspects)
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


def make_suspects(connection: Connection) -> None:
    """A thousand of them, at the head of all queues."""
    connection.execute(
        "update pyengine.in_flight set crashes = 3, is_suspect = true, app_version = 'v1', priority = -1"
        " where status = 'ENQUEUED' and workflow_id ~ '^w' and substr(workflow_id, 2)::integer / 4 % 20 = 0"
    )


@pytest.mark.parametrize("queue", ["q", "limited", "parts", "limited parts"])
@pytest.mark.parametrize("suspects", ["none", "only", "any"])
def test_suspects_are_neither_waded_through_nor_searched_for(
    warmed: Executor, session_factory: Callable[..., Connection], queue: str, suspects: str
) -> None:
    warmed.connection.execute("set plan_cache_mode = force_generic_plan")
    warm_up(warmed, suspects)
    other = session_factory()
    fill(other)
    make_suspects(other)
    warmed.connection.autocommit = False

    taken = len(claim(warmed, queue, 20, suspects=suspects))
    assert taken == {"none": 20, "only": 1}.get(suspects, taken)
    assert taken > 0
    assert {table: count for table, count in rows_read(warmed.connection).items() if count > 900} == {}


@pytest.mark.parametrize("queue", ["q", "limited", "parts", "limited parts"])
def test_a_plan_made_on_an_empty_queue_stays_right(
    warmed: Executor, session_factory: Callable[..., Connection], queue: str
) -> None:
    warmed.connection.execute("set plan_cache_mode = force_generic_plan")
    warm_up(warmed)
    fill(session_factory())
    warmed.connection.autocommit = False

    assert len(claim(warmed, queue, 20)) == 20
    # Twenty rows are looked at a few times each, and some lanes are passed over; a plan gone wrong reads thousands.
    assert all(count < 600 for count in rows_read(warmed.connection).values()), rows_read(warmed.connection)


@pytest.mark.parametrize("queue", ["q", "limited"])
def test_a_mark_in_the_midst_of_a_backlog_is_where_the_walk_begins(
    warmed: Executor, session_factory: Callable[..., Connection], queue: str
) -> None:
    warmed.connection.execute("set plan_cache_mode = force_generic_plan")
    warm_up(warmed)
    for _ in range(2):
        claim(warmed, queue, mark={0: 1, 7: 1})
    other = session_factory()
    fill(other)
    (middle,) = read(other, "select max(seq) - 3000 as seq from pyengine.in_flight where queue = %s", queue)
    warmed.connection.autocommit = False

    taken = claim(warmed, queue, 20, mark={0: middle["seq"], 7: 1})
    seqs = read(warmed.connection, "select seq from pyengine.in_flight where workflow_id = any (%s)", taken)
    assert len(seqs) == 20
    assert all(middle["seq"] <= each["seq"] < middle["seq"] + 1000 for each in seqs)
    assert all(count < 600 for count in rows_read(warmed.connection).values()), rows_read(warmed.connection)


@pytest.mark.parametrize("queue", ["parts", "limited parts"])
@pytest.mark.parametrize("unversioned", [True, False])
def test_marks_of_partitions_in_the_midst_of_a_backlog_are_where_their_walks_begin(
    warmed: Executor, session_factory: Callable[..., Connection], queue: str, unversioned: bool
) -> None:
    warmed.connection.execute("set plan_cache_mode = force_generic_plan")
    warm_up(warmed)
    for _ in range(2):
        enqueue(warmed.connection, f"marked{_}", queue=queue, partition_key="first")
        claim(warmed, queue, lanes={("first", 0): 1, ("first", 7): 1})
    other = session_factory()
    fill(other)
    (middle,) = read(other, "select max(seq) - 8000 as seq from pyengine.in_flight where queue = %s", queue)
    keys = read(
        other, "select partition_key as key from pyengine.lanes where queue = %s and partition_key <> 'first'", queue
    )
    warmed.connection.autocommit = False

    mark = {(each["key"], 0): middle["seq"] for each in keys}
    taken = claim(warmed, queue, 20, lanes=mark, unversioned=unversioned)
    seqs = read(warmed.connection, "select seq from pyengine.in_flight where workflow_id = any (%s)", taken)
    assert len(seqs) == 20
    assert all(middle["seq"] <= each["seq"] for each in seqs)
    assert all(count < 900 for count in rows_read(warmed.connection).values()), rows_read(warmed.connection)


@pytest.mark.parametrize("queue", ["q", "limited", "parts", "limited parts"])
def test_a_plan_made_when_a_vacuum_has_found_little_stays_right(
    warmed: Executor, session_factory: Callable[..., Connection], queue: str
) -> None:
    """Large indexes of few entries: to read much of one is thought to cost less than to look into a deeper one."""
    other = session_factory()
    fill(other)
    other.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, app_version, partition_key)"
        " select 'wide' || n, 'ENQUEUED', 'other', 'app', 'v1',"
        "   (select string_agg(md5(n::text || place), '') from generate_series(1, 14) as place)"
        " from generate_series(1, 5000) as n"
    )
    for table in ("workflows", "in_flight", "lanes"):
        kept = " where workflow_id !~ '^wide49'" if table == "in_flight" else ""
        other.execute(f"delete from pyengine.{table}{kept}")
        other.execute(f"vacuum pyengine.{table}")
    warmed.connection.execute("set plan_cache_mode = force_generic_plan")
    warm_up(warmed)
    fill(other)
    warmed.connection.autocommit = False

    assert len(claim(warmed, queue, 20)) == 20
    assert all(count < 600 for count in rows_read(warmed.connection).values()), rows_read(warmed.connection)
