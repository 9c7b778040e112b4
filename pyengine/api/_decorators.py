"""@DBOS.workflow(), @DBOS.step() and @DBOS.scheduled(): register a function and wrap it, its signature kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from ..errors import DBOSException
from ..runtime.checks import check_seconds
from ..runtime.execute import call_workflow
from ..runtime.io import BLOCKING, SUSPENDING, run_blocking
from ..runtime.registry import REGISTRY, TEMPORARY_PREFIX, ScheduleSpec, StepSpec, WorkflowSpec
from ..runtime.slots import check_cron
from ..runtime.steps import call_step
from ._state import executor

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_MAX_RECOVERY_ATTEMPTS = 100

# Where a wrapper carries the workflow that start_workflow and enqueue run for it.
_SPEC = "__pyengine_workflow__"


def workflow(
    *,
    name: str | None = None,
    max_recovery_attempts: int | None = DEFAULT_MAX_RECOVERY_ATTEMPTS,
    serialization_type: Any = None,
    validate_args: Any = None,
    auto_upgrade: bool | None = None,
    kill_after_seconds: float | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a durable workflow.

    name: what it is stored under (default: its qualified name). max_recovery_attempts: crashes after which it is
    set aside as MAX_RECOVERY_ATTEMPTS_EXCEEDED; None: never. kill_after_seconds: under `pyengine worker`, how long its
    code may go on after the workflow was cancelled or ran into its timeout; then its process is killed.
    """
    kill_after_seconds = check_seconds("kill_after_seconds", kill_after_seconds)
    if max_recovery_attempts is not None and (
        isinstance(max_recovery_attempts, bool)
        or not isinstance(max_recovery_attempts, int)
        or max_recovery_attempts < 0
    ):
        raise DBOSException(
            f"max_recovery_attempts must be a whole number of at least 0 or None, not {max_recovery_attempts!r}"
        )

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        spec = WorkflowSpec(
            name=_name(name, function),
            function=function,
            max_recovery_attempts=max_recovery_attempts,
            is_async=inspect.iscoroutinefunction(function),
            kill_after_seconds=kill_after_seconds,
        )
        REGISTRY.add_workflow(spec)
        return _wrap_workflow(spec, function)

    return decorate


def _wrap_workflow(spec: WorkflowSpec, function: Callable[P, R]) -> Callable[P, R]:
    wrapper: Any
    if spec.is_async:

        @functools.wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await call_workflow(SUSPENDING, executor(f"workflow {spec.name}"), spec, args, kwargs)

        wrapper = call_async
    else:

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return run_blocking(call_workflow(BLOCKING, executor(f"workflow {spec.name}"), spec, args, kwargs))

        wrapper = call
    setattr(wrapper, _SPEC, spec)
    return wrapper  # type: ignore[no-any-return]


def step(
    *,
    name: str | None = None,
    retries_allowed: bool = False,
    interval_seconds: float = 1.0,
    max_attempts: int = 3,
    backoff_rate: float = 2.0,
    should_retry: Callable[[BaseException], bool | Awaitable[bool]] | None = None,
    preemptible: bool = False,
    timeout_seconds: float | None = None,
    kill_after_seconds: float | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step: in a workflow its outcome is a checkpoint; once that is stored it is not run again.

    retries_allowed: try up to max_attempts times; the delay before attempt n + 1 is interval_seconds *
    backoff_rate ** (n - 1) seconds, at most an hour, give or take a quarter. The count of failed attempts
    survives a crash. should_retry: asked with the exception; False ends the retries at once. Past the last
    attempt DBOSMaxStepRetriesExceeded is raised.

    Of async steps: timeout_seconds, for each attempt (DBOSStepTimeoutError); preemptible: interrupted, and not
    recorded, when the workflow is cancelled. Of sync steps: kill_after_seconds, for each attempt. Under `pyengine
    worker` its process is killed then; the attempt counts as failed with DBOSStepTimeoutError, and what else ran in
    the process goes on elsewhere.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        is_async = inspect.iscoroutinefunction(function)
        spec = StepSpec(
            name=_name(name, function),
            function=function,
            is_async=is_async,
            retries_allowed=retries_allowed,
            interval_seconds=interval_seconds,
            max_attempts=max_attempts,
            backoff_rate=backoff_rate,
            should_retry=should_retry,
            timeout_seconds=check_seconds("timeout_seconds", timeout_seconds),
            preemptible=preemptible,
            kill_after_seconds=check_seconds("kill_after_seconds", kill_after_seconds),
        )
        _check_step(spec)
        wrapper = wrap_step(spec, function)
        hidden = WorkflowSpec(
            name=TEMPORARY_PREFIX + spec.name,
            function=wrapper,
            max_recovery_attempts=DEFAULT_MAX_RECOVERY_ATTEMPTS,
            is_async=is_async,
            is_hidden=True,
        )
        REGISTRY.add_workflow(hidden)
        setattr(wrapper, _SPEC, hidden)
        return wrapper

    return decorate


def wrap_step(spec: StepSpec, function: Callable[P, R]) -> Callable[P, R]:
    if spec.is_async:

        @functools.wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await call_step(SUSPENDING, spec, args, kwargs)

        return call_async  # type: ignore[return-value]

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        return run_blocking(call_step(BLOCKING, spec, args, kwargs))

    return call


def _check_step(spec: StepSpec) -> None:
    if isinstance(spec.max_attempts, bool) or not isinstance(spec.max_attempts, int) or spec.max_attempts < 1:
        raise DBOSException(
            f"max_attempts of step {spec.name} must be a whole number of at least 1, not {spec.max_attempts!r}"
        )
    check_seconds(f"interval_seconds of step {spec.name}", spec.interval_seconds, allow_zero=True)
    if not isinstance(spec.backoff_rate, int | float) or not spec.backoff_rate >= 0:
        raise DBOSException(
            f"backoff_rate of step {spec.name} must be a number of at least 0, not {spec.backoff_rate!r}"
        )
    if spec.is_async:
        if spec.kill_after_seconds is not None:
            raise DBOSException(
                f"step {spec.name} is async: kill_after_seconds is for sync steps, timeout_seconds for async ones"
            )
        return
    if spec.timeout_seconds is not None or spec.preemptible:
        raise DBOSException(
            f"step {spec.name} is not async: only an async step can be preemptible or have timeout_seconds"
        )
    if inspect.iscoroutinefunction(spec.should_retry):
        raise DBOSException(f"should_retry of step {spec.name} is async, but the step is not")


def scheduled(cron: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run a workflow on a schedule: a cron expression of 5 fields, or of 6 with seconds first, in UTC.

    The workflow is called with (scheduled_time, actual_time), both aware datetimes. Each slot runs once over all
    hosts; slots missed while no executor was up are skipped. A bad expression raises ValueError here.
    """
    check_cron(cron)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        spec = workflow_spec(function, "DBOS.scheduled")
        if spec.is_hidden:
            raise DBOSException(f"{spec.function.__qualname__} is a step: only a workflow can be scheduled")
        REGISTRY.add_schedule(ScheduleSpec(name=spec.name, cron=cron, workflow=spec))
        return function

    return decorate


def workflow_spec(function: Callable[..., Any], what: str) -> WorkflowSpec:
    """The workflow behind a decorated function: a step has one, too."""
    spec = getattr(function, _SPEC, None)
    if spec is None:
        name = getattr(function, "__qualname__", repr(function))
        raise DBOSException(
            f"{what} takes a workflow or a step, but {name} is neither: "
            "decorate it with @DBOS.workflow() or @DBOS.step()"
        )
    return spec  # type: ignore[no-any-return]


def _name(name: str | None, function: Callable[..., Any]) -> str:
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise DBOSException(f"a name must be a non-empty string, not {name!r}")
    return name or function.__qualname__
