from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Connection, read, row


def put(connection: Connection, first_at: datetime, cron: str = "* * * * *", name: str = "s") -> datetime:
    given = {"application": "app", "schedule_name": name, "workflow_name": "flow", "cron": cron, "first_at": first_at}
    found = row(connection, "put_schedule", **given)
    due: datetime = found["next_at"]
    return due


def test_a_slot_that_is_stored_stays_across_restarts(session: Connection, clock: Clock) -> None:
    first = clock.now() + timedelta(seconds=30)
    put(session, first)
    before = read(session, "select s.xmin, s.ctid from pyengine.schedules as s")
    clock.advance(33)

    assert put(session, first + timedelta(minutes=1)) == first
    assert read(session, "select s.xmin, s.ctid from pyengine.schedules as s") == before


def test_a_slot_long_past_gives_way(session: Connection, clock: Clock) -> None:
    first = clock.now() + timedelta(seconds=30)
    put(session, first)
    clock.advance(40)

    assert put(session, first + timedelta(minutes=1)) == first + timedelta(minutes=1)


def test_another_cron_sets_another_slot(session: Connection, clock: Clock) -> None:
    first = clock.now() + timedelta(seconds=30)
    put(session, first)

    assert put(session, first + timedelta(hours=1), "0 * * * *") == first + timedelta(hours=1)


def test_a_schedule_needs_a_name(session: Connection, clock: Clock) -> None:
    with pytest.raises(psycopg.Error) as refused:
        put(session, clock.now(), name="")

    assert refused.value.sqlstate == "WF101"
