"""Schedules: each slot once, over all hosts, in order; what was missed is skipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from plugins.fleet import Facts, Fleet, said
from pyengine import DBOS
from pyengine.errors import DBOSException

SECOND = timedelta(seconds=1)
Launch = Callable[..., type[DBOS]]


def wait_for(condition: Callable[[], object], timeout_seconds: float = 30) -> None:
    until = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def is_consecutive(slots: list[datetime]) -> bool:
    return [slot - slots[0] for slot in slots] == [SECOND * number for number in range(len(slots))]


def test_every_second_has_its_run(launch: Launch, facts: Facts) -> None:
    calls: list[tuple[datetime, datetime, str | None]] = []

    @DBOS.scheduled("* * * * * *")
    @DBOS.workflow()
    def tick(scheduled: datetime, actual: datetime) -> None:
        calls.append((scheduled, actual, DBOS.workflow_id))

    launch()
    wait_for(lambda: len(calls) >= 4)
    DBOS.destroy()
    calls.sort()
    assert is_consecutive([scheduled for scheduled, _, _ in calls])
    for scheduled, actual, workflow_id in calls:
        assert scheduled.utcoffset() == timedelta(0)
        assert scheduled.microsecond == 0
        assert timedelta(0) <= actual - scheduled < timedelta(seconds=6)
        assert workflow_id == f"sched-{tick.__qualname__}-{scheduled.isoformat()}"
    assert facts.all("select distinct schedule_name from pyengine.workflows") == [tick.__qualname__]


def test_an_async_workflow_and_one_declared_after_launch(dbos: type[DBOS]) -> None:
    seen: list[datetime] = []

    @DBOS.scheduled("*/1 * * * * *")
    @DBOS.workflow()
    async def tick(scheduled: datetime, actual: datetime) -> None:
        seen.append(scheduled)

    wait_for(lambda: len(seen) >= 2)
    assert len(set(seen)) == len(seen)


def test_strict_json_is_no_obstacle(launch: Launch) -> None:
    ran = threading.Event()

    @DBOS.scheduled("* * * * * *")
    @DBOS.workflow()
    def tick(scheduled: datetime, actual: datetime) -> None:
        assert isinstance(scheduled, datetime)
        ran.set()

    launch(strict_json=True)
    assert ran.wait(20)


def test_two_processes_run_each_slot_once(fleet: Fleet, facts: Facts) -> None:
    fleet.define(
        """
        @DBOS.scheduled("* * * * * *")
        @DBOS.workflow(name="tick")
        def tick(scheduled, actual):
            say("slot", scheduled.isoformat())
        """
    )
    programs = [fleet.start(), fleet.start()]
    facts.wait("select count(*) >= 5 from pyengine.outcomes")
    for program in programs:
        program.kill()
    slots = sorted(datetime.fromisoformat(found[1]) for program in programs for found in said(program, "^slot (.*)"))
    assert is_consecutive(slots), slots
    ids = facts.all("select workflow_id from pyengine.workflows")
    assert len(ids) == len(set(ids))


def test_the_successor_goes_on_without_making_up_for_what_was_missed(launch: Launch, facts: Facts) -> None:
    seen: list[datetime] = []

    @DBOS.scheduled("* * * * * *")
    @DBOS.workflow(name="tick")
    def tick(scheduled: datetime, actual: datetime) -> None:
        seen.append(scheduled)

    launch()
    wait_for(lambda: len(seen) >= 1)
    DBOS.destroy()
    count = len(seen)
    # As if nobody had been there for an hour.
    facts.execute("update pyengine.schedules set next_at = next_at - interval '1 hour'")
    launch()
    wait_for(lambda: len(seen) >= count + 2)
    now = datetime.now(timezone.utc)
    assert all(now - slot < timedelta(minutes=2) for slot in seen[count:])
    assert len(set(seen)) == len(seen)


def test_a_changed_cron_takes_effect(launch: Launch, facts: Facts) -> None:
    ran = threading.Event()

    @DBOS.scheduled("0 0 1 1 *")
    @DBOS.workflow(name="tick")
    def yearly(scheduled: datetime, actual: datetime) -> None:
        ran.set()

    launch()
    next_at = facts.wait("select next_at from pyengine.schedules")
    assert (next_at.astimezone(timezone.utc).month, next_at.astimezone(timezone.utc).day) == (1, 1)
    DBOS.destroy(destroy_registry=True)

    @DBOS.scheduled("* * * * * *")
    @DBOS.workflow(name="tick")
    def often(scheduled: datetime, actual: datetime) -> None:
        ran.set()

    launch()
    assert ran.wait(20)


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "a b c d e", "* * * * * * *", "0 0 30 2 *", "@hourly", "61 * * * * *"],
)
def test_a_bad_cron_is_refused_when_it_is_written(cron: str) -> None:
    with pytest.raises(ValueError, match=r"cron|fields"):
        DBOS.scheduled(cron)


@pytest.mark.parametrize(
    ("cron", "after", "slot"),
    [
        ("*/5 * * * *", "2026-03-01T10:02:03", "2026-03-01T10:05:00"),
        ("30 */5 * * * *", "2026-03-01T10:02:03", "2026-03-01T10:05:30"),
        ("0 9 * * MON-FRI", "2026-03-06T10:00:00", "2026-03-09T09:00:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("* * * * * *", "2026-03-01T10:02:03.5", "2026-03-01T10:02:04"),
    ],
)
def test_slots_are_utc_and_seconds_come_first(cron: str, after: str, slot: str) -> None:
    from pyengine.runtime.slots import slot_after

    DBOS.scheduled(cron)
    found = slot_after(cron, datetime.fromisoformat(after + "+00:00" if "." not in after else after + "00000+00:00"))
    assert found == datetime.fromisoformat(slot + "+00:00")


def test_only_a_workflow_can_be_scheduled() -> None:
    @DBOS.step()
    def step(scheduled: datetime, actual: datetime) -> None:
        return None

    with pytest.raises(DBOSException, match="step"):
        DBOS.scheduled("* * * * *")(step)
    with pytest.raises(DBOSException, match="decorate it"):
        DBOS.scheduled("* * * * *")(print)
    DBOS.destroy(destroy_registry=True)
