"""What follows an attempt whose process was killed: decided on replay as it would have been in the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plugins.fleet import Facts
from pyengine import DBOS, SetWorkflowID
from pyengine.db import calls
from pyengine.errors import DBOSMaxStepRetriesExceeded, DBOSStepTimeoutError
from pyengine.runtime.context import current_run

Launch = Callable[..., type[DBOS]]


def be_killed() -> None:
    """The supervisor's record of the attempt, and the end of the run that made it."""
    run, status = current_run(), DBOS.step_status
    assert run is not None
    assert status is not None
    attempt = (status.current_attempt or 0) + 1
    error = run.executor.codec.encode_error(DBOSStepTimeoutError("step", 1.0))
    given: dict[str, Any] = {"step_id": status.step_id, "attempt": attempt, "error": error}
    assert run.executor.database.one(calls.record_attempt, **run.claim, **given) == "ok"
    raise SystemExit


@pytest.fixture
def outcome(launch: Launch, facts: Facts) -> Callable[..., tuple[Any, list[int]]]:
    """`outcome(kills, **options)`: of a workflow whose step is killed so many times, and which attempts were made."""
    launch(lease_ttl_seconds=1)
    attempts: list[int] = []

    def run(kills: int, **options: Any) -> tuple[Any, list[int]]:
        @DBOS.step(name="step", **options)
        def step() -> str:
            status = DBOS.step_status
            assert status is not None
            attempts.append(status.current_attempt or 0)
            if len(attempts) <= kills:
                be_killed()
            return "in the end"

        @DBOS.workflow(name="flow")
        def flow() -> Any:
            try:
                return step()
            except DBOSStepTimeoutError as error:
                return "raised", error.timeout_seconds
            except DBOSMaxStepRetriesExceeded as error:
                return "given up", len(error.errors)

        with SetWorkflowID("w"):
            DBOS.start_workflow(flow)
        facts.wait_for("w")
        return DBOS.get_result("w"), attempts

    return run


RETRIED = {"retries_allowed": True, "interval_seconds": 0.01}


@pytest.mark.parametrize(
    ("kills", "options", "result", "attempts"),
    [
        (1, {}, ("raised", 1.0), [0]),
        (1, RETRIED, "in the end", [0, 1]),
        (2, RETRIED, "in the end", [0, 1, 2]),
        (2, RETRIED | {"max_attempts": 2}, ("given up", 2), [0, 1]),
        (1, RETRIED | {"should_retry": lambda error: False}, ("raised", 1.0), [0]),
        (1, RETRIED | {"should_retry": lambda error: isinstance(error, DBOSStepTimeoutError)}, "in the end", [0, 1]),
        (1, RETRIED | {"max_attempts": 1, "should_retry": lambda error: False}, ("given up", 1), [0]),
    ],
    ids=["no retries", "retried", "twice", "all attempts", "not worth it", "worth it", "the only attempt"],
)
def test_a_killed_attempt_counts_as_one_that_failed(
    outcome: Callable[..., tuple[Any, list[int]]], kills: int, options: Any, result: Any, attempts: list[int]
) -> None:
    assert outcome(kills, **options) == (result, attempts)


def test_the_outcome_is_recorded_like_any_other(outcome: Callable[..., tuple[Any, list[int]]]) -> None:
    outcome(1)

    (step,) = DBOS.list_workflow_steps("w")
    assert step["function_name"] == "step"
    assert isinstance(step["error"], DBOSStepTimeoutError)
