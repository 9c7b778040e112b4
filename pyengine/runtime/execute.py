"""Running a workflow to its end: the user's function inside a run, then one outcome."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from ..db import calls
from ..db.batches import FINISHES, Arguments
from ..db.rows import Claim, Outcome
from ..errors import (
    ClaimLost,
    DBOSAwaitedWorkflowCancelledError,
    DBOSWorkflowCancelledError,
    DBOSWorkflowFunctionNotFoundError,
    ExecutorFenced,
    ExecutorStopping,
)
from ..logs import logger
from .committer import Request
from .context import NO_SETTINGS, Frame, Settings, current_frame, current_settings
from .io import BLOCKING, Io, run_blocking
from .outcomes import await_outcome, unwrap
from .registry import WorkflowSpec
from .run import Run, check_size
from .slots import read_slot_arguments
from .starts import Started, draw_parent, start
from .steps import record_outcome, replay

if TYPE_CHECKING:
    from .executor import Executor

# The workflow goes on elsewhere, or is cancelled already.
NOT_OURS_ANY_MORE = (ExecutorStopping, ExecutorFenced, ClaimLost, DBOSWorkflowCancelledError)
# What ends a run without an outcome.
ABANDONED = (*NOT_OURS_ANY_MORE, asyncio.CancelledError)


async def call_workflow(
    io: Io, executor: Executor, spec: WorkflowSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A direct call: run the workflow here and now and return its result. Inside a workflow it is a child."""
    parent = draw_parent(spec)
    # Drawn together with the child's number, before anything is awaited: calls that run side by side draw the same
    # numbers in every replay.
    result_id = 0 if parent is None else parent.run.draw_step_id()
    started = await start(io, executor, spec, args, kwargs, parent)

    async def result() -> Any:
        try:
            return await _result(io, executor, started, args, kwargs)
        except DBOSWorkflowCancelledError:
            if parent is not None:
                parent.run.check()  # the parent itself may be the cancelled one
            raise DBOSAwaitedWorkflowCancelledError(started.workflow_id) from None

    if parent is None:
        return await result()
    recorded = parent.run.recorded(result_id, "DBOS.getResult")
    if recorded is not None and recorded.name is not None:
        return replay(parent.run, recorded)
    return await record_outcome(io, parent.run, result_id, "DBOS.getResult", result)


async def _result(io: Io, executor: Executor, started: Started, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if started.run is not None:
        try:
            return await execute(io, started.run, args, kwargs)
        except (ClaimLost, ExecutorFenced):
            logger.warning(
                "Workflow %s was taken over by another executor; waiting for its result", started.workflow_id
            )
    return unwrap(executor.codec, await await_outcome(io, executor, started.workflow_id))


async def execute(io: Io, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the user's function and record the outcome. Whatever is not an Exception leaves the workflow unfinished."""
    is_over = False
    try:
        try:
            result, output = await _run_user(io, run, args, kwargs)
            await _finish(io, run, "SUCCESS", output, None)
            is_over = True
            return result
        except Exception as error:
            # Also for a result that Postgres will not take: a workflow must not run for ever because it cannot end.
            await _finish(io, run, "ERROR", None, run.executor.codec.encode_error(error))
            is_over = True
            raise
    except NOT_OURS_ANY_MORE:
        is_over = True
        raise
    finally:
        run.executor.runs.remove(run, is_over=is_over)


async def _run_user(io: Io, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bytes]:
    """What the user's function returned, and that as it is stored."""
    result = await _call_user(io, run, args, kwargs)
    output = run.executor.codec.encode(result)
    check_size(f"workflow {run.spec.name}", output)
    return result, output


async def _call_user(io: Io, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    frame = current_frame.set(Frame(run))
    settings = current_settings.set(_settings(run))
    try:
        return await io.user(run.spec.function, args, kwargs)
    finally:
        current_settings.reset(settings)
        current_frame.reset(frame)


def _settings(run: Run) -> Settings:
    """What a workflow sees of the settings around its start: who asked for it."""
    if run.authenticated_user is None and run.authenticated_roles is None and run.assumed_role is None:
        return NO_SETTINGS
    return Settings(
        authenticated_user=run.authenticated_user,
        authenticated_roles=run.authenticated_roles,
        assumed_role=run.assumed_role,
    )


async def _finish(io: Io, run: Run, status: str, output: bytes | None, error: bytes | None) -> None:
    verdict = await run.commit(io, FINISHES, _ending(run, status, output, error))
    _heed_end(run, verdict, Outcome(run.workflow_id, status, output, error))


def _ending(run: Run, status: str, output: bytes | None, error: bytes | None) -> Arguments:
    run.check(may_finish=True)
    return {**run.claim, "status": status, "output": output, "error": error}


def _heed_end(run: Run, verdict: str, outcome: Outcome) -> None:
    run.heed(verdict)
    run.executor.results.push(outcome)
    run.executor.waits.ended(run.workflow_id)


async def execute_in_background(io: Io, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A run that nobody calls: its result is read from its outcome. Nor does anybody wait until that is committed: its
    thread, or its task, is free as soon as it is on its way. Until then the run counts as one.
    """
    try:
        _, output = await _run_user(io, run, args, kwargs)
        ending = _ending(run, "SUCCESS", output, None)
        io.commit_later(run.executor.committer, FINISHES, ending, partial(_has_ended, run))
    except Exception as error:
        await _fail(io, run, error)
    except BaseException as reason:
        _break_off(run, reason)


def _has_ended(run: Run, request: Request[str]) -> None:
    """The verdict on an end that nobody waited for."""
    try:
        _heed_end(run, request.answer(), Outcome(run.workflow_id, "SUCCESS", request.arguments["output"], None))
    except NOT_OURS_ANY_MORE as reason:
        if isinstance(reason, ExecutorFenced):
            run.executor.on_fenced(run.identity)
        _break_off(run, reason)
    except Exception as error:
        # Postgres will not take the result: a workflow must not run for ever because it cannot end.
        run.executor.threads.start(partial(_fail_blocking, run, error))
    else:
        run.executor.runs.remove(run, is_over=True)


def _fail_blocking(run: Run, error: Exception) -> None:
    run_blocking(_fail(BLOCKING, run, error))


async def _fail(io: Io, run: Run, error: Exception, what: str = "failed") -> None:
    """End a run that nobody calls with this error."""
    try:
        await _finish(io, run, "ERROR", None, run.executor.codec.encode_error(error))
    except BaseException as reason:
        _break_off(run, reason)
        return
    run.executor.runs.remove(run, is_over=True)
    logger.error("Workflow %s (%s) %s: %s: %s", run.workflow_id, run.spec.name, what, type(error).__name__, error)


def _break_off(run: Run, reason: BaseException) -> None:
    """A run that nobody calls ends here without an outcome."""
    run.executor.runs.remove(run, is_over=isinstance(reason, NOT_OURS_ANY_MORE))
    if isinstance(reason, ABANDONED):
        logger.debug("%r ended without an outcome: %s", run, reason)
    elif isinstance(reason, Exception):
        logger.error("Workflow %s (%s) cannot end: %s", run.workflow_id, run.spec.name, reason)
    else:  # SystemExit and the like: not the end of the workflow, and not of this thread
        logger.warning(
            "Workflow %s (%s) was broken off by %s: it is unfinished, and run again",
            run.workflow_id,
            run.spec.name,
            type(reason).__name__,
        )


async def execute_claim(io: Io, run: Run, claim: Claim) -> None:
    """Run a claimed workflow: its inputs come from the database, and its checkpoints too when it ran before."""
    executor = run.executor
    try:
        inputs = claim.inputs
        if claim.verdict == "claimed_large":
            inputs = await run.call(io, lambda: executor.database.one(calls.get_inputs, workflow_id=run.workflow_id))
        if claim.replay:
            rows = await run.call(
                io, lambda: executor.database.all(calls.load_checkpoints, workflow_id=run.workflow_id)
            )
            run.checkpoints = {row.step_id: row for row in rows}
        args, kwargs = ((), {}) if inputs is None else executor.codec.decode_call(inputs)
        if claim.schedule_name is not None:
            args = read_slot_arguments(args)
    except ABANDONED:
        executor.runs.remove(run, is_over=False)
        return
    except Exception as error:
        await _fail(io, run, error, "cannot run")
        return
    await execute_in_background(io, run, args, kwargs)


async def execute_unknown(io: Io, run: Run) -> None:
    """A claimed workflow whose function this program does not have."""
    error = DBOSWorkflowFunctionNotFoundError(
        run.workflow_id,
        f"no workflow named {run.spec.name!r} is registered in application version {run.executor.app_version}",
    )
    await _fail(io, run, error, "cannot run")
