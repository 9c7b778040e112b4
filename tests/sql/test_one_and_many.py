"""A batch and the singles it stands for leave the same tables and the same answers, whatever rows come together."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest

from plugins.batching import (
    BATCHES,
    Batch,
    attempt_row,
    call,
    checkpoint_row,
    enqueue_row,
    finish_row,
    freeze_clock,
    one,
    parent_of,
    sleep_row,
    start_row,
    wipe,
    written,
)
from plugins.executors import Executor, Row
from plugins.queueing import cancel, enqueue, put_queue

ROWS, SEEDS = 40, range(6)
# Workflows of the executor by their fences; of the last two the claim is over.
RUNS = {"a": 1, "b": 2, "c": 3, "lost": 4, "ended": 5}
DEADLINE = datetime(2031, 1, 1, tzinfo=timezone.utc)
Make = Callable[[random.Random, Executor, int], Row]


def build(executor: Executor) -> None:
    """The same world each time: runs with some steps behind them, something on the queue, an id and a key that are
    taken.
    """
    connection = executor.connection
    wipe(connection)
    for name, fence in RUNS.items():
        executor.start(name, fence=fence, start_token=fence)
    for step_id in (1, 2):
        executor.checkpoint("a", 1, step_id, name="step")
        executor.sleep("b", 2, step_id, 30)
        executor.attempt("c", 3, step_id, 1, b"first")
    cancel(connection, "ended")
    enqueue(connection, "queued", start_token=1, deduplication_id="held")


def _claim(chance: random.Random) -> tuple[str, int]:
    name = chance.choice([*RUNS, "unknown"])
    return name, 99 if name == "lost" or chance.random() < 0.05 else RUNS.get(name, 1)


def _payload(chance: random.Random) -> bytes | None:
    return chance.choice([None, b"", b"\x00\xff", bytes([chance.randrange(256)]) * 3000])


def _duration(chance: random.Random) -> timedelta:
    return timedelta(seconds=chance.choice([0.000001, 1, 3600, 86_400 * 30]) * chance.randrange(1, 100))


def _either(chance: random.Random, *values: Any) -> Any:
    """Mostly nothing."""
    return chance.choice([None] * len(values) + list(values))


def checkpoint(chance: random.Random, executor: Executor, place: int) -> Row:
    given = {"output": _payload(chance), "error": _payload(chance), "child_id": _either(chance, "x", "grüße")}
    given |= {"name": chance.choice(["step", "other"]), "elapsed": _duration(chance)}
    return checkpoint_row(executor, *_claim(chance), chance.randrange(1, 20), **given)


def sleep(chance: random.Random, executor: Executor, place: int) -> Row:
    return sleep_row(executor, *_claim(chance), chance.randrange(1, 20), duration=_duration(chance))


def attempt(chance: random.Random, executor: Executor, place: int) -> Row:
    given = {"step_id": chance.randrange(1, 8), "error": _payload(chance)}
    return attempt_row(executor, *_claim(chance), chance.randrange(1, 4), **given)


def finish(chance: random.Random, executor: Executor, place: int) -> Row:
    given = {"status": chance.choice(["SUCCESS", "ERROR"]), "output": _payload(chance), "error": _payload(chance)}
    return finish_row(executor, *_claim(chance), **given)


def _header(chance: random.Random, place: int) -> Row:
    """Of 40 rows a few have the same id, and a few of those the same token."""
    parent = _claim(chance)
    return {
        "start_token": chance.randrange(1, 1000),
        "name": chance.choice(["flow", "other"]),
        "class_name": _either(chance, "C"),
        "config_name": _either(chance, "one"),
        "inputs": _payload(chance),
        "timeout": _either(chance, _duration(chance)),
        "deadline": _either(chance, DEADLINE),
        "max_recovery_attempts": _either(chance, 3),
        "attributes": _either(chance, "{}", '{"a": [1, null, "grüße"], "b": 0.10}'),
        "authenticated_user": _either(chance, "ada"),
        "assumed_role": _either(chance, "admin"),
        "authenticated_roles": _either(chance, [], ["a"], ["{", '"', "\\", "NULL", ""]),
        **(parent_of(*parent, 100 + place) if chance.random() < 0.3 else {}),
    }


def _id(chance: random.Random, place: int) -> str:
    return chance.choice([*RUNS, "queued", "new", "new-1"]) if chance.random() < 0.2 else f"w{place}"


def start(chance: random.Random, executor: Executor, place: int) -> Row:
    return start_row(executor, _id(chance, place), 1000 + place, **_header(chance, place))


def queued(chance: random.Random, executor: Executor, place: int) -> Row:
    given = {
        **_header(chance, place),
        "app_version": chance.choice(["v1", "v2", None]),
        "queue": chance.choice(["q", "q", "q", "other"]),
        "priority": _either(chance, 0, 7),
        "deduplication_id": _either(chance, "held", "k", "l", f"own{place}", ""),
        "delay": _either(chance, timedelta(0), _duration(chance), timedelta(seconds=-1)),
        "schedule_name": _either(chance, "nightly"),
    }
    if chance.random() < 0.3:
        given |= {"queue": "parts", "partition_key": chance.choice(["red", "blue", "green", ""])}
        given["deduplication_id"] = None
    return enqueue_row(executor, _id(chance, place), **given)


MAKERS: dict[str, Make] = {
    "start_workflow": start,
    "enqueue_workflow": queued,
    "record_checkpoint": checkpoint,
    "record_sleep": sleep,
    "record_attempt": attempt,
    "finish_workflow": finish,
}


def alone(executor: Executor, batch: Batch[Any], row: Row) -> Any:
    try:
        return one(executor.connection, batch, row)
    except psycopg.Error as refused:
        return refused.sqlstate


def together(executor: Executor, batch: Batch[Any], rows: Sequence[Row]) -> tuple[list[int], dict[int, Any]]:
    """As the committer does; what the batch left over comes last, and is named."""
    try:
        reply = call(executor.connection, batch.many, batch.gather(rows))
    except psycopg.Error:
        left_over = list(range(len(rows)))
        answers: dict[int, Any] = {}
    else:
        left_over = sorted(number - 1 for number in batch.left_over(reply))
        answers = {place: batch.done(row, reply) for place, row in enumerate(rows) if place not in left_over}
    return left_over, answers | {place: alone(executor, batch, rows[place]) for place in left_over}


def tables(executor: Executor) -> dict[str, list[str]]:
    """A batch gives out numbers in the queue by queue and key."""
    return {table: sorted(map(str, rows)) for table, rows in written(executor.connection).items()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("batch", BATCHES, ids=[batch.many.name for batch in BATCHES])
def test_the_same_rows_one_by_one_leave_the_same(executor: Executor, batch: Batch[Any], seed: int) -> None:
    chance = random.Random(seed)
    freeze_clock(executor.connection)
    put_queue(executor.connection, "q")
    put_queue(executor.connection, "parts", is_partitioned=True)
    rows = [MAKERS[batch.one.name](chance, executor, place) for place in range(ROWS)]

    build(executor)
    left_over, answers = together(executor, batch, rows)
    left = tables(executor)
    build(executor)
    order = [place for place in range(ROWS) if place not in left_over] + left_over

    assert {place: alone(executor, batch, rows[place]) for place in order} == answers
    assert tables(executor) == left
    # What a batch does not do it must not be made for.
    assert 3 <= len(left_over) <= ROWS - 3
