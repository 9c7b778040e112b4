"""What must hold when a chaos run has come to rest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from plugins.chaos.load import Acknowledged

# value of a workflow that was given `number`, and how many of its steps write an effect
EXPECTED = {
    "chain": (lambda number: number + 6, 3),
    "chain_async": (lambda number: number + 6, 3),
    "flaky": (lambda number: number + 6, 2),
    "sleeper": (lambda number: number + 6, 2),
    "sleeper_async": (lambda number: number + 6, 2),
    "family": (lambda number: 3 * (number + 6), 4),
    "every_second": (lambda number: 6, 1),
    "failing": (lambda number: number + 6, 1),
}
LIMITS = {"limited": 4, "plain": None, "rated": None}
WORKER_LIMITS = {"limited": 2}
# All workflows, but for the slots that have just been fired.
_JUDGED = """
    create temporary table judged on commit drop as
    select w.* from pyengine.workflows as w
    where not (w.name = 'every_second' and w.created_at > clock_timestamp() - interval '3 seconds')
"""
RATES = {"rated": (6, 1.0)}


def problems(connection: psycopg.Connection[Any], acknowledged: Mapping[str, Acknowledged]) -> Iterator[str]:
    """Everything that is wrong, one line each, as of one instant: the schedule goes on meanwhile."""
    connection.execute("begin isolation level repeatable read")
    connection.execute(_JUDGED.encode())
    yield from _ends(connection, acknowledged)
    yield from _steps(connection)
    yield from _fences(connection)
    yield from _limits(connection)
    yield from _rates(connection)
    connection.execute("commit")
    for invariant, subject, problem, _ in _all(connection, "select * from pyengine.doctor()"):
        yield f"doctor: invariant {invariant}: {subject}: {problem}"


def _all(connection: psycopg.Connection[Any], query: str, *arguments: Any) -> list[Any]:
    return connection.execute(query.encode(), arguments or None).fetchall()


def _ends(connection: psycopg.Connection[Any], acknowledged: Mapping[str, Acknowledged]) -> Iterator[str]:
    """Every workflow in exactly one outcome, with the right result; none lost that was acknowledged."""
    found = {}
    for workflow_id, name, inputs, status, output, error in _all(
        connection,
        "select w.workflow_id, w.name, w.inputs, o.status, o.output, o.error from judged as w"
        " left join pyengine.outcomes as o using (workflow_id)",
    ):
        found[workflow_id] = status
        kind = name
        call = json.loads(bytes(inputs)[1:]) if inputs else {"args": []}
        number = call["args"][0] if kind != "every_second" and call["args"] else 0
        value, _ = EXPECTED[kind]
        if status is None:
            yield f"{workflow_id}: it did not end"
        elif kind == "failing":
            if status != "ERROR" or f"meant to fail with {value(number)}".encode() not in bytes(error or b""):
                yield f"{workflow_id}: {status}, {bytes(error or output or b'')[:200]!r}"
        elif status != "SUCCESS":
            yield f"{workflow_id}: {status}, {bytes(error or b'')[:1500]!r}"
        elif (got := json.loads(bytes(output)[1:])["value"]) != value(number):
            yield f"{workflow_id}: its result is {got}, not {value(number)}"
    for workflow_id in acknowledged:
        if workflow_id not in found:
            yield f"{workflow_id}: acknowledged, and lost"
    for (workflow_id,) in _all(
        connection,
        "select workflow_id from ledger.acts where act = 'outcome' group by workflow_id having count(*) <> 1",
    ):
        yield f"{workflow_id}: it ended more than once"


def _steps(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Each step recorded once, and its effect there, of the very run that recorded it."""
    for workflow_id, step_id, count in _all(
        connection,
        "select workflow_id, step_id, count(*) from ledger.acts where act = 'checkpoint' group by 1, 2"
        " having count(*) <> 1",
    ):
        yield f"{workflow_id}: step {step_id} was recorded {count} times"
    for workflow_id, step_id in _all(
        connection,
        "select c.workflow_id, c.step_id from pyengine.checkpoints as c where c.name like 'add%' and not exists"
        " (select from ledger.effects as e where e.workflow_id = c.workflow_id and e.step_id = c.step_id"
        "   and e.fence = ledger.fence_in(c.output))",
    ):
        yield f"{workflow_id}: step {step_id} is recorded and its effect is not there"
    for workflow_id, step_id in _all(
        connection,
        "select workflow_id, step_id from ledger.effects group by 1, 2 having count(distinct value) > 1",
    ):
        yield f"{workflow_id}: two runs of step {step_id} had different arguments"
    for workflow_id, kind, count in _all(
        connection,
        "select w.workflow_id, w.name, count(c.step_id) filter (where c.name like 'add%')"
        " from judged as w left join pyengine.checkpoints as c using (workflow_id) group by 1, 2",
    ):
        if count != EXPECTED[kind][1]:
            yield f"{workflow_id}: {count} of its {EXPECTED[kind][1]} steps are recorded"
    for workflow_id, count in _all(
        connection,
        "select w.workflow_id, count(x.workflow_id) from judged as w"
        " left join pyengine.workflows as x on x.parent_id = w.workflow_id where w.name = 'family' group by 1"
        " having count(x.workflow_id) <> 3",
    ):
        yield f"{workflow_id}: it has {count} children, not 3"


def _fences(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """No write after the fence: judged by triggers in the transaction of the write itself."""
    for act, workflow_id, step_id, problem in _all(
        connection, "select act, workflow_id, step_id, problem from ledger.acts where problem is not null"
    ):
        yield f"{workflow_id}: {act} {step_id or ''}: {problem}"
    # A row that is claimed must have been left by its former owner.
    running: dict[str, int] = {}
    for act, workflow_id, fence in _all(
        connection, "select act, workflow_id, fence from ledger.acts where act in ('claim', 'leave') order by act_id"
    ):
        if act == "leave":
            running.pop(workflow_id, None)
        elif running.setdefault(workflow_id, fence) != fence:
            yield f"{workflow_id}: claimed twice at a time"


def _limits(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Over all instants, from the intervals between claim and leave."""
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    open_claims: dict[tuple[str, int], list[tuple[tuple[str, ...], int]]] = {}
    for act, at, workflow_id, queue, partition, executor_id, fence in _all(
        connection,
        "select act, at, workflow_id, queue, partition_key, executor_id, fence from ledger.acts"
        " where act in ('claim', 'leave') order by at, act_id",
    ):
        if act == "leave":
            for place, _ in open_claims.pop((workflow_id, fence), ()):
                counts[place] -= 1
            continue
        places = []
        if LIMITS.get(queue) is not None:
            places.append(((f"queue {queue}",), LIMITS[queue]))
        if queue in WORKER_LIMITS:
            places.append(((f"queue {queue} on executor {executor_id}",), WORKER_LIMITS[queue]))
        if queue == "lanes":
            places.append(((f"queue {queue} in partition {partition}",), 1))
        open_claims[(workflow_id, fence)] = places
        for place, most in places:
            counts[place] += 1
            if counts[place] > most:
                yield f"{place[0]}: {counts[place]} run at {at}, and the limit is {most} ({workflow_id})"


def _rates(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for queue, (most, seconds) in RATES.items():
        starts = [
            at
            for (at,) in _all(
                connection,
                "select claimed_at from ledger.acts where act = 'claim' and queue = %s order by claimed_at",
                queue,
            )
        ]
        for first, last in zip(starts, starts[most:], strict=False):
            if (last - first).total_seconds() < seconds:
                yield f"queue {queue}: more than {most} started within {seconds} s from {first}"
