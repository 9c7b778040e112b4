"""Every call of the protocol, its tokens fixed: to be made again, as a client does whose reply was lost."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from plugins.batching import (
    ATTEMPTS,
    CHECKPOINTS,
    ENQUEUES,
    FINISHES,
    SLEEPS,
    STARTS,
    Batch,
    attempt_row,
    checkpoint_row,
    enqueue_row,
    finish_row,
    make_patient,
    many,
    parent_of,
    sleep_row,
    start_row,
)
from plugins.executors import Connection, Executor, Row, put_in_flight, read, row, rows, value
from plugins.queueing import cancel, claim, claim_rows, enqueue, put_queue, resume

OWNER_FENCE = 5
_TABLES = (
    "executors", "queues", "workflows", "in_flight", "lanes", "queue_starts", "outcomes", "checkpoints",
    "step_attempts", "interrupts", "schedules",
)  # fmt: skip
# What a call may do as often as it likes: renew a lease.
_RENEWED = ("lease_expires_at", "beat_at")
# What differs between two runs of the same call.
_INSTANTS = (
    "seq", "created_at", "registered_at", "promoted_at", "claimed_at", "completed_at", "started_at", "failed_at",
    "raised_at", "dead_at", "handed_over_at", "declared_at", "next_at", "last_fired_at", "wake_at", "run_at",
    "executor_id", "liveness_pid", "liveness_started_at", "served_at", "token_floor",
)  # fmt: skip


def snapshot(connection: Connection, *, instants: bool = True) -> list[Row]:
    """All rows of all tables, less what a lease is renewed with; on request less the instants, too."""
    dropped = list(_RENEWED if instants else _RENEWED + _INSTANTS)
    parts = " union all ".join(
        f"select '{table}' as place, to_jsonb(t) - %(dropped)s::text[] as content from pyengine.{table} as t"
        for table in _TABLES
    )
    with connection.cursor() as cursor:
        found = cursor.execute(f"select * from ({parts}) as x order by place, content".encode(), {"dropped": dropped})
        return [{"place": place, **content} for place, content in found.fetchall()]


def clear(connection: Connection) -> None:
    """Forget everything, as if the database were new: for tests that go through many stories."""
    tables = ", ".join(f"pyengine.{table}" for table in (*_TABLES, "housekeeping", "application_versions"))
    connection.execute(f"truncate {tables}".encode())


def twin(executor: Executor, connection: Connection) -> Executor:
    """The same executor, speaking over another connection."""
    other = copy.copy(executor)
    other.connection = connection
    return other


class World:
    """What the calls are made on: an owner that runs `w`, work that waits, somebody dead, a schedule that is due."""

    def __init__(self, owner: Executor, other: Executor, dead: Executor) -> None:
        self.owner, self.other, self.dead = owner, other, dead
        connection = other.connection
        make_patient(connection)
        owner.start("w", fence=OWNER_FENCE, start_token=1)
        enqueue(connection, "queued")
        enqueue(connection, "ended")
        cancel(connection, "ended")
        dead.start("orphan", fence=6)
        dead.retire()
        put_in_flight(connection, "due", status="DELAYED", run_at="2000-01-01", app_version="v1", queue="later")
        owner.start("overdue", fence=8, deadline="2000-01-01")
        self.slot = read(connection, "select date_trunc('second', pyengine._now()) as slot")[0]["slot"]
        given = {"application": "app", "schedule_name": "s", "workflow_name": "flow", "cron": "x"}
        rows(connection, "put_schedule", **given, first_at=self.slot)


Make = Callable[[World, Executor], Any]


@dataclass(frozen=True)
class Call:
    """`make` is the whole call, tokens and all; `subject` the workflow it is about; `repeat` what a repeat is told."""

    make: Make
    first: Any
    repeat: Any
    subject: str | None = None
    is_fenced: bool = True  # refused once the executor is dead

    def __call__(self, world: World, executor: Executor | None = None) -> Any:
        return self.make(world, executor or world.owner)


def _verdict(call: Callable[[World, Executor], Row]) -> Make:
    return lambda world, executor: call(world, executor)["verdict"]


def _enqueue(executor: Executor, **arguments: Any) -> Row:
    return enqueue(executor.connection, "new", start_token=2, **arguments)


def _parent(executor: Executor) -> Row:
    return {**executor.me, "parent_id": "w", "parent_fence": OWNER_FENCE, "parent_step_id": 1, "name": "child"}


def _register(world: World, executor: Executor) -> bool:
    found = row(executor.connection, "register_executor", **executor.registration | {"nonce": 77})["executor_id"]
    return [found] == [
        e["executor_id"] for e in read(executor.connection, "select * from pyengine.executors where nonce = 77")
    ]


def _fire(world: World, executor: Executor) -> Row:
    return row(
        executor.connection, "fire_schedule", **executor.me, application="app", schedule_name="s", slot=world.slot,
        next_slot=world.slot + timedelta(minutes=1), start_token=2, workflow_id="slot", name="flow", class_name=None,
        app_version="v1", inputs=None, max_recovery_attempts=1,
    )  # fmt: skip


def _put_schedule(world: World, executor: Executor) -> Any:
    given = {"application": "app", "schedule_name": "s", "workflow_name": "flow", "cron": "y"}
    later = world.slot + timedelta(hours=1)
    return rows(executor.connection, "put_schedule", **given, first_at=later)[0]["next_at"] == later


def _many(make: Callable[[World, Executor], tuple[Batch[Any], list[Row]]]) -> Make:
    return lambda world, executor: many(executor.connection, *make(world, executor))


def _starts(world: World, executor: Executor, *, is_child: bool = False) -> tuple[Batch[Any], list[Row]]:
    parents = [parent_of("w", OWNER_FENCE, step_id) if is_child else {} for step_id in (1, 2)]
    return STARTS, [
        start_row(executor, workflow_id, fence, start_token=fence, **parent)
        for workflow_id, fence, parent in zip(("new", "other"), (11, 12), parents, strict=True)
    ]


def _enqueues(world: World, executor: Executor) -> tuple[Batch[Any], list[Row]]:
    return ENQUEUES, [
        enqueue_row(executor, workflow_id, start_token=2, deduplication_id=workflow_id)
        for workflow_id in ("new", "other")
    ]


def _checkpoints(world: World, executor: Executor) -> tuple[Batch[Any], list[Row]]:
    return CHECKPOINTS, [checkpoint_row(executor, "w", OWNER_FENCE, step_id) for step_id in (1, 2)]


def _sleeps(world: World, executor: Executor) -> tuple[Batch[Any], list[Row]]:
    return SLEEPS, [sleep_row(executor, "w", OWNER_FENCE, step_id) for step_id in (1, 2)]


def _attempts(world: World, executor: Executor) -> tuple[Batch[Any], list[Row]]:
    return ATTEMPTS, [attempt_row(executor, "w", OWNER_FENCE, attempt) for attempt in (1, 2)]


def _finishes(world: World, executor: Executor) -> tuple[Batch[Any], list[Row]]:
    return FINISHES, [
        finish_row(executor, workflow_id, fence) for workflow_id, fence in (("w", OWNER_FENCE), ("overdue", 8))
    ]


def _start_child(world: World, executor: Executor) -> Row:
    return executor.start_child("new", "w", OWNER_FENCE, 1, fence=11, start_token=2)


def _load_claims(world: World, executor: Executor) -> list[str]:
    found = rows(executor.connection, "load_claims", **executor.me, fences=[OWNER_FENCE])
    return [claim["workflow_id"] for claim in found]


def _beat(world: World, executor: Executor) -> Any:
    return executor.beat(OWNER_FENCE, 8)["unheld_fences"]


def _duty(function: str) -> Make:
    return lambda world, executor: value(executor.connection, function, limit=10)


CALLS: dict[str, Call] = {
    "start": Call(_verdict(lambda w, e: e.start("new", fence=11, start_token=2)), "yours", "yours", "new"),
    "start child": Call(_verdict(_start_child), "yours", "yours", "new"),
    "enqueue": Call(_verdict(lambda w, e: _enqueue(e, **e.me)), "yours", "yours", "new"),
    "enqueue of a client": Call(_verdict(lambda w, e: _enqueue(e)), "yours", "yours", "new", is_fenced=False),
    "enqueue with a key": Call(
        _verdict(lambda w, e: _enqueue(e, deduplication_id="k", **e.me)), "yours", "yours", "new"
    ),
    "enqueue child": Call(_verdict(lambda w, e: _enqueue(e, **_parent(e))), "yours", "yours", "new"),
    "starts": Call(_many(_starts), [], [1, 2], "new"),
    "starts of children": Call(_many(lambda w, e: _starts(w, e, is_child=True)), [], [1, 2], "new"),
    "enqueues": Call(_many(_enqueues), [], [1, 2], "new"),
    "checkpoints": Call(_many(_checkpoints), [], [1, 2], "w"),
    # What was fixed or remembered is answered together, too: a repeat leaves nothing over.
    "sleeps": Call(_many(_sleeps), [], [], "w"),
    "attempts": Call(_many(_attempts), [], [], "w"),
    "finishes": Call(_many(_finishes), [], [1, 2], "w"),
    "claim": Call(lambda w, e: claim(e, fence=11), ["queued"], ["queued"], "queued"),
    "checkpoint": Call(
        _verdict(lambda w, e: e.checkpoint("w", OWNER_FENCE, 1, output=b"first")), "stored", "existing", "w"
    ),
    "sleep": Call(_verdict(lambda w, e: e.sleep("w", OWNER_FENCE, 1, 60)), "stored", "existing", "w"),
    "attempt": Call(lambda w, e: e.attempt("w", OWNER_FENCE, 1, 1), "ok", "ok", "w"),
    "finish": Call(lambda w, e: e.finish("w", OWNER_FENCE), "ok", "ok", "w"),
    "load claims": Call(_load_claims, ["w"], ["w"], "w"),
    "fire": Call(_verdict(_fire), "fired", "fired", "slot"),
    "register": Call(_register, True, True, is_fenced=False),
    "hold liveness": Call(lambda w, e: e.hold_liveness(), True, True),
    "beat": Call(_beat, [], [], "w"),
    "tick": Call(lambda w, e: e.tick(queues=["q"])["ready_queues"], ["q"], ["q"]),
    "mark": Call(lambda w, e: w.other.mark_dead(w.owner), True, True, is_fenced=False),
    "retire": Call(lambda w, e: e.retire(), None, None, is_fenced=False),
    "take over": Call(lambda w, e: e.take_over(w.dead), (1, 0, False), (0, 0, False), "orphan", is_fenced=False),
    # The acts of users carry no token: the answer tells what is, and a repeat finds it done.
    "cancel": Call(lambda w, e: cancel(e.connection, "w"), "cancelled", "finished", is_fenced=False),
    "resume": Call(lambda w, e: resume(e.connection, "ended"), "resumed", "resumed", is_fenced=False),
    "put queue": Call(lambda w, e: put_queue(e.connection, concurrency=9), None, None, is_fenced=False),
    "put schedule": Call(_put_schedule, True, True, is_fenced=False),
    "release delayed": Call(_duty("release_delayed"), 1, 0, "due", is_fenced=False),
    "expire deadlines": Call(_duty("expire_deadlines"), 1, 0, "overdue", is_fenced=False),
}  # fmt: skip


def run_on(executor: Executor, workflow_id: str, fence: int) -> int:
    """See to it that the executor runs the workflow, under this fence if it does not run it yet; the fence it has."""
    (found,) = read(executor.connection, "select * from pyengine.in_flight where workflow_id = %s", workflow_id)
    if found["status"] == "PENDING":
        held: int = found["fence"]
        return held
    assert workflow_id in [each["workflow_id"] for each in claim_rows(executor, found["queue"], 1000, fence)]
    return fence


def settle(future: Future[Any], observer: Connection, pid: int, timeout_seconds: float = 30) -> None:
    """Wait until the call in the background has its answer, or really waits for a lock."""
    until = time.monotonic() + timeout_seconds
    while not future.done():
        found = observer.execute("select pg_blocking_pids(%s)", (pid,)).fetchone()
        if found and found[0]:
            return
        assert time.monotonic() < until, "neither answered nor blocked"
        time.sleep(0.002)
