"""The orders by which a supervisor ends code that nothing in its process can end."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from pyengine import DBOS
from pyengine.errors import DBOSException
from pyengine.runtime.limits import Limits
from pyengine.runtime.registry import StepSpec, WorkflowSpec
from pyengine.runtime.supervision import KillOrder


class Run(SimpleNamespace):
    __hash__ = object.__hash__  # two runs are never the same


NOW = datetime(2025, 1, 1, tzinfo=timezone.utc)


class Supervisor:
    """Hears orders; `heard` holds every one, `standing` the last."""

    def __init__(self) -> None:
        self.heard: list[KillOrder | None] = []

    @property
    def standing(self) -> KillOrder | None:
        return self.heard[-1] if self.heard else None

    def order(self, kill: KillOrder | None) -> None:
        self.heard.append(kill)


def order(at: float, name: str = "step") -> KillOrder:
    return KillOrder(at=at, seconds=1, workflow_id="w", fence=5, step_id=1, step_name=name, attempt=1)


def new_run(*, kill_after_seconds: float | None = None, deadline: datetime | None = None) -> Any:
    spec = WorkflowSpec(
        name="flow", function=print, max_recovery_attempts=None, is_async=False, kill_after_seconds=kill_after_seconds
    )
    executor = SimpleNamespace(clock=SimpleNamespace(now=lambda: NOW))
    return Run(workflow_id="w", fence=5, spec=spec, deadline=deadline, executor=executor)


def new_step(kill_after_seconds: float | None = None) -> StepSpec:
    return StepSpec(name="step", function=print, is_async=False, kill_after_seconds=kill_after_seconds)


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
def limits(supervisor: Supervisor) -> Limits:
    return Limits(supervisor)  # type: ignore[arg-type]


def test_the_earliest_order_is_told_and_only_when_it_changes(limits: Limits, supervisor: Supervisor) -> None:
    late, early, later = order(30), order(10), order(40)
    limits.place("late", late)
    limits.place("early", early)
    limits.place("later", later)
    assert supervisor.heard == [late, early]

    limits.lift("later")
    limits.lift("early")
    limits.lift("late")
    limits.lift("late")
    assert supervisor.heard == [late, early, late, None]


def test_of_two_orders_under_one_key_the_earlier_stands(limits: Limits, supervisor: Supervisor) -> None:
    limits.place("one", order(30))
    limits.place("one", order(40))
    limits.place("one", order(20))
    assert [each.at for each in supervisor.heard if each] == [30, 20]

    limits.lift("one")
    assert supervisor.standing is None


def test_an_attempt_of_a_step_has_an_order_while_it_runs(limits: Limits, supervisor: Supervisor) -> None:
    before = time.monotonic()
    with limits.of_attempt(new_run(), new_step(7), step_id=3, attempt=2):
        told = supervisor.standing
        assert told is not None
        assert before + 7 <= told.at <= time.monotonic() + 7
        assert (told.seconds, told.workflow_id, told.fence) == (7, "w", 5)
        assert (told.step_id, told.step_name, told.attempt) == (3, "step", 2)
    assert supervisor.standing is None


def test_a_failed_attempt_lifts_its_order(limits: Limits, supervisor: Supervisor) -> None:
    with pytest.raises(KeyError), limits.of_attempt(new_run(), new_step(7), 1, 1):
        raise KeyError
    assert supervisor.standing is None


def test_a_step_without_limits_tells_nothing(limits: Limits, supervisor: Supervisor) -> None:
    deadline = NOW + timedelta(seconds=1)
    with limits.of_attempt(new_run(deadline=deadline), new_step(), 1, 1):
        limits.of_cancelled(new_run())

    assert supervisor.heard == []


@pytest.mark.parametrize(("step_seconds", "is_step"), [(60, True), (600, False), (None, False)])
def test_the_earlier_of_step_and_deadline_stands(
    limits: Limits, supervisor: Supervisor, step_seconds: float | None, is_step: bool
) -> None:
    """The deadline's order stands before the deadline: a step may keep the interpreter to itself."""
    run = new_run(kill_after_seconds=10, deadline=NOW + timedelta(seconds=100))
    before = time.monotonic()
    with limits.of_attempt(run, new_step(step_seconds), 1, 1):
        told = supervisor.standing
    assert told is not None
    if is_step:
        assert (told.step_id, told.seconds) == (1, 60)
    else:
        assert (told.step_id, told.step_name, told.seconds) == (None, "flow", 10)
        assert before + 110 <= told.at <= time.monotonic() + 110


def test_a_cancelled_workflow_has_an_order_until_it_ends(limits: Limits, supervisor: Supervisor) -> None:
    run = new_run(kill_after_seconds=10)
    limits.of_cancelled(run)
    told = supervisor.standing
    assert told is not None
    assert (told.step_id, told.step_name) == (None, "flow")

    limits.lift(run)
    assert supervisor.standing is None


def test_without_a_supervisor_it_is_said_once_what_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(None)
    with limits.of_attempt(new_run(), new_step(7), 1, 1):
        limits.of_cancelled(new_run(kill_after_seconds=1))
    with limits.of_attempt(new_run(), new_step(7), 1, 1):
        pass

    (line,) = [record.getMessage() for record in caplog.records]
    assert "kill_after_seconds of step" in line
    assert "`pyengine worker`" in line


@pytest.mark.parametrize("seconds", [0, -1, True, "5", float("nan"), float("inf"), 1e12])
def test_a_limit_is_a_positive_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(DBOSException, match="kill_after_seconds must be"):
        DBOS.step(kill_after_seconds=seconds)(lambda: None)
    with pytest.raises(DBOSException, match="kill_after_seconds must be"):
        DBOS.workflow(kill_after_seconds=seconds)(lambda: None)


def test_async_steps_have_time_limits_of_their_own() -> None:
    async def slow() -> None: ...

    with pytest.raises(DBOSException, match="timeout_seconds for async ones"):
        DBOS.step(kill_after_seconds=5)(slow)
