from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from plugins.batching import SLEEPS, call, freeze_clock, many, one, sleep_row, written
from plugins.clock import Clock
from plugins.executors import Connection, Executor, Row, read
from plugins.queueing import cancel, claim, resume

KINDS: dict[str, Row] = {
    "a minute": {},
    "an instant": {"duration": timedelta(microseconds=1)},
    "days": {"duration": timedelta(days=200, seconds=3, microseconds=7)},
    "the longest": {"duration": timedelta(days=36_600)},
    "largest step": {"step_id": 2**31 - 1},
}


def ends(connection: Connection) -> list[tuple[str, int, object]]:
    found = read(connection, "select workflow_id, step_id, wake_at from pyengine.checkpoints order by 1, 2")
    return [(each["workflow_id"], each["step_id"], each["wake_at"]) for each in found]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_row_lands_as_the_function_for_one_lands_it(executor: Executor, kind: str, zone: str) -> None:
    connection = executor.connection
    freeze_clock(connection)
    connection.execute("select set_config('timezone', %s, false)", (zone,))
    executor.start("w", fence=5)
    row = sleep_row(executor, "w", 5, **({"step_id": 1} | KINDS[kind]))
    reply = call(connection, SLEEPS.many, SLEEPS.gather([row]))
    together = written(connection)
    connection.execute("delete from pyengine.checkpoints")

    assert reply.left_over == []
    assert one(connection, SLEEPS, row) == SLEEPS.done(row, reply)
    assert together == written(connection)


def test_rows_of_all_kinds_land_as_the_function_for_one_lands_them(executor: Executor) -> None:
    connection = executor.connection
    freeze_clock(connection)
    executor.start("w", fence=5)
    executor.start("v", fence=6)
    rows = [
        sleep_row(executor, *(("w", 5), ("v", 6))[place % 2], **({"step_id": place} | KINDS[kind]))
        for place, kind in enumerate(KINDS)
    ]
    reply = call(connection, SLEEPS.many, SLEEPS.gather(rows))
    together, verdicts = written(connection), [SLEEPS.done(row, reply) for row in rows]
    connection.execute("delete from pyengine.checkpoints")

    assert reply.left_over == []
    assert [one(connection, SLEEPS, row) for row in rows] == verdicts
    assert together == written(connection)


def test_a_repeat_is_told_what_is_left_of_the_first_sleep(executor: Executor, clock: Clock) -> None:
    executor.start("w", fence=5)
    rows = [sleep_row(executor, "w", 5, step_id, duration=timedelta(seconds=20 * step_id)) for step_id in (3, 1)]
    first = call(executor.connection, SLEEPS.many, SLEEPS.gather(rows))
    before = ends(executor.connection)
    clock.advance(30)
    again = call(executor.connection, SLEEPS.many, SLEEPS.gather(rows))

    assert (first.left_over, first.kept_ids, again.left_over) == ([], None, [])
    assert ends(executor.connection) == before
    verdicts = [SLEEPS.done(row, again) for row in rows]
    assert [each.verdict for each in verdicts] == ["existing", "existing"]
    assert [each.wake_at for each in verdicts] == [first.server_time + row["duration"] for row in rows]
    assert timedelta(seconds=29) < verdicts[0].remaining <= timedelta(seconds=30)
    assert verdicts[1].remaining == timedelta(0)


def test_sleeps_old_and_new_are_told_apart(executor: Executor, clock: Clock) -> None:
    """A host that takes over sleepers while its own fall asleep."""
    executor.start("w", fence=5)
    old = executor.sleep("w", 5, 2, 100)
    clock.advance(40)
    rows = [sleep_row(executor, "w", 5, step_id) for step_id in (1, 2, 3)]
    reply = call(executor.connection, SLEEPS.many, SLEEPS.gather(rows))

    assert reply.left_over == []
    verdicts = [SLEEPS.done(row, reply) for row in rows]
    assert [each.verdict for each in verdicts] == ["stored", "existing", "stored"]
    assert verdicts[1].wake_at == old["wake_at"]
    assert verdicts[0].remaining == verdicts[2].remaining == timedelta(seconds=60)


def test_a_step_of_another_kind_is_left_over(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.checkpoint("w", 5, 2)
    executor.checkpoint("w", 5, 3, name="DBOS.sleep")
    rows = [sleep_row(executor, "w", 5, step_id) for step_id in (1, 2, 3)]

    assert many(executor.connection, SLEEPS, rows) == [2, 3]
    found = [one(executor.connection, SLEEPS, row) for row in rows[1:]]
    assert [(each.verdict, each.name, each.remaining) for each in found] == [
        ("existing", "step", None), ("existing", "DBOS.sleep", None),
    ]  # fmt: skip


def test_lost_claims_are_left_over_also_where_a_sleep_is_stored(executor: Executor) -> None:
    for place, workflow_id in enumerate(("w", "lost", "cancelled"), 5):
        executor.start(workflow_id, fence=place)
        executor.sleep(workflow_id, place, 1, 60)
    cancel(executor.connection, "cancelled")
    claims = (("w", 5), ("lost", 99), ("cancelled", 7), ("unknown", 5))
    rows = [sleep_row(executor, *each, step_id) for each in claims for step_id in (1, 2)]

    assert many(executor.connection, SLEEPS, rows) == [3, 4, 5, 6, 7, 8]
    verdicts = [one(executor.connection, SLEEPS, row).verdict for row in rows[2:]]
    assert verdicts == ["fenced", "fenced", "cancelled", "cancelled", "fenced", "fenced"]


@pytest.mark.parametrize("is_first", [True, False])
def test_two_runs_of_one_workflow_in_one_process_are_told_apart(executor: Executor, is_first: bool) -> None:
    """Cancelled, resumed and claimed again here, while the old run is about to sleep."""
    executor.start("w", fence=5)
    cancel(executor.connection, "w")
    resume(executor.connection, "w", "q")
    assert claim(executor, fence=6) == ["w"]
    fences = (5, 6) if is_first else (6, 5)
    rows = [sleep_row(executor, "w", fence, duration=timedelta(seconds=fence)) for fence in fences]
    reply = call(executor.connection, SLEEPS.many, SLEEPS.gather(rows))

    assert reply.left_over == [1 if is_first else 2]
    assert ends(executor.connection) == [("w", 1, reply.server_time + timedelta(seconds=6))]


def test_of_two_rows_for_one_step_the_first_counts(executor: Executor) -> None:
    executor.start("w", fence=5)
    rows = [sleep_row(executor, "w", 5, duration=timedelta(seconds=seconds)) for seconds in (20, 10, 30)]
    reply = call(executor.connection, SLEEPS.many, SLEEPS.gather(rows))

    assert reply.left_over == [2, 3]
    assert SLEEPS.done(rows[0], reply).verdict == "stored"
    assert ends(executor.connection) == [("w", 1, reply.server_time + timedelta(seconds=20))]
    assert [one(executor.connection, SLEEPS, row).verdict for row in rows[1:]] == ["existing", "existing"]


def test_a_step_of_two_workflows_is_not_mixed_up(executor: Executor) -> None:
    for fence, workflow_id in enumerate("ab", 5):
        executor.start(workflow_id, fence=fence)
    rows = [sleep_row(executor, "a", 5, 1), sleep_row(executor, "b", 6, 2), sleep_row(executor, "a", 5, 2)]
    assert many(executor.connection, SLEEPS, rows[:2]) == []
    reply = call(executor.connection, SLEEPS.many, SLEEPS.gather([rows[1], rows[2]]))

    assert (reply.left_over, reply.kept_ids, reply.kept_step_ids) == ([], ["b"], [2])


def test_a_dead_executor_fixes_nothing(new_executor: Callable[..., Executor]) -> None:
    executor, other = new_executor(), new_executor()
    executor.start("w", fence=5)
    other.mark_dead(executor)
    with pytest.raises(psycopg.Error) as refused:
        many(executor.connection, SLEEPS, [sleep_row(executor, "w", 5, step_id) for step_id in (1, 2)])

    assert refused.value.sqlstate == "WF001"
    assert ends(executor.connection) == []


@pytest.mark.parametrize("kind", ["one", "many"])
def test_a_sleep_of_days_is_so_many_seconds(executor: Executor, clock: Clock, kind: str) -> None:
    """Also over a night in which the session's time zone puts its clocks forward."""
    connection = executor.connection
    connection.execute("set timezone = 'Europe/Berlin'")
    connection.execute("update test_clock.shift set by = timestamptz '2031-03-29 12:00:00+00' - clock_timestamp()")
    executor.start("w", fence=5)
    row = sleep_row(executor, "w", 5, duration=timedelta(days=1))
    verdicts = []
    for _ in range(2):
        if kind == "one":
            verdicts.append(one(connection, SLEEPS, row))
        else:
            verdicts.append(SLEEPS.done(row, call(connection, SLEEPS.many, SLEEPS.gather([row]))))

    assert [each.verdict for each in verdicts] == ["stored", "existing"]
    for each in verdicts:
        assert each.remaining is not None
        assert timedelta(hours=23, minutes=59) < each.remaining <= timedelta(hours=24)
    slept = read(connection, "select extract(epoch from wake_at - started_at)::integer as s from pyengine.checkpoints")
    assert slept == [{"s": 86_400}]
