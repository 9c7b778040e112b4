"""What can be asked and done about workflows, once, for sync and async callers, inside and outside of workflows,
engine and client.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from psycopg.types.json import Jsonb

from ..db import calls
from ..db.database import Database
from ..db.rows import StepRow, WorkflowRow
from ..errors import DBOSException, DBOSNonExistentWorkflowError
from ..runtime.checks import check_seconds
from ..runtime.context import recording_run
from ..runtime.executor import Executor
from ..runtime.io import Io
from ..runtime.outcomes import await_outcome, unwrap
from ..runtime.registry import INTERNAL_QUEUE
from ..runtime.steps import recorded_call
from ..serialization import Codec
from ._status import (
    StepInfo,
    WorkflowStatus,
    WorkflowStatusString,
    instant,
    pack,
    step_info,
    texts,
    unpack,
    workflow_status,
)

_workflow_rows = partial(unpack, WorkflowRow)


class Place(Protocol):
    """Where workflows are: an executor or a client."""

    @property
    def database(self) -> Database: ...

    @property
    def codec(self) -> Codec: ...

    @property
    def application(self) -> str: ...


async def sleep(io: Io, executor: Executor, seconds: float) -> None:
    """Durable: the instant of waking is recorded first, so that a recovered workflow sleeps only what is left."""
    run = recording_run()
    if run is None:
        raise DBOSException("DBOS.sleep() can only be called from within a workflow, outside of its steps")
    if not isinstance(seconds, int | float) or not seconds <= 0:
        check_seconds("the time of DBOS.sleep()", float("nan") if seconds is None else seconds)
    step_id = run.draw_step_id()
    run.recorded(step_id, "DBOS.sleep")
    if seconds <= 0:
        return
    # On replay too: the database knows the instant, and how far away it is by its own clock.
    await run.sleep(io, step_id, seconds)


async def get_result(io: Io, executor: Executor, workflow_id: str) -> Any:
    async def fetch() -> Any:
        return unwrap(executor.codec, await await_outcome(io, executor, workflow_id))

    return await recorded_call(io, "DBOS.getResult", fetch)


async def get_status(io: Io, place: Place, workflow_id: str) -> WorkflowStatus | None:
    async def fetch() -> list[WorkflowRow]:
        return await io.database(lambda: place.database.all(calls.get_workflows, workflow_ids=[workflow_id]))

    found = await recorded_call(io, "DBOS.getStatus", fetch, pack, _workflow_rows)
    return workflow_status(found[0], place.codec) if found else None


async def require_status(io: Io, place: Place, workflow_id: str) -> WorkflowStatus:
    status = await get_status(io, place, workflow_id)
    if status is None:
        raise DBOSNonExistentWorkflowError(workflow_id)
    return status


async def list_workflows(io: Io, place: Place, **filters: Any) -> list[WorkflowStatus]:
    arguments = _filters(**filters)
    if arguments["applications"] is None:
        arguments["applications"] = [place.application]

    async def fetch() -> list[WorkflowRow]:
        return await io.database(lambda: place.database.all(calls.list_workflows, **arguments))

    found = await recorded_call(io, "DBOS.listWorkflows", fetch, pack, _workflow_rows)
    return [workflow_status(row, place.codec) for row in found]


def _filters(
    *,
    workflow_ids: list[str] | None = None,
    status: str | list[str] | None = None,
    start_time: str | None = None,
    end_time: str | None = None,
    completed_after: str | None = None,
    completed_before: str | None = None,
    dequeued_after: str | None = None,
    dequeued_before: str | None = None,
    name: str | list[str] | None = None,
    app_version: str | list[str] | None = None,
    forked_from: str | list[str] | None = None,
    parent_workflow_id: str | list[str] | None = None,
    user: str | list[str] | None = None,
    queue_name: str | list[str] | None = None,
    limit: int | None = None,
    offset: int | None = None,
    sort_desc: bool = False,
    workflow_id_prefix: str | list[str] | None = None,
    load_input: bool = True,
    load_output: bool = True,
    executor_id: str | list[str] | None = None,
    queues_only: bool = False,
    is_fork: bool | None = None,
    has_parent: bool | None = None,
    attributes: dict[str, Any] | None = None,
    schedule_name: str | list[str] | None = None,
    application_name: str | list[str] | None = None,
) -> dict[str, Any]:
    statuses = texts(status)
    for text in statuses or ():
        if text not in WorkflowStatusString.__members__:
            raise DBOSException(
                f"{text!r} is no workflow status; there are {', '.join(WorkflowStatusString.__members__)}"
            )
    for option, number in (("limit", limit), ("offset", offset)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
            raise DBOSException(f"{option} must be a whole number of at least 0, not {number!r}")
    return {
        "workflow_ids": texts(workflow_ids),
        "id_prefixes": texts(workflow_id_prefix),
        "statuses": statuses,
        "names": texts(name),
        "app_versions": texts(app_version),
        "queues": texts(queue_name),
        "users": texts(user),
        "executor_labels": texts(executor_id),
        "parent_ids": texts(parent_workflow_id),
        "forked_from": texts(forked_from),
        "schedule_names": texts(schedule_name),
        "applications": texts(application_name),
        "created_after": instant("start_time", start_time),
        "created_before": instant("end_time", end_time, is_end=True),
        "completed_after": instant("completed_after", completed_after),
        "completed_before": instant("completed_before", completed_before, is_end=True),
        "dequeued_after": instant("dequeued_after", dequeued_after),
        "dequeued_before": instant("dequeued_before", dequeued_before, is_end=True),
        "attributes": None if attributes is None else Jsonb(attributes),
        "queues_only": queues_only,
        "has_parent": has_parent,
        "is_fork": is_fork,
        "limit": limit,
        "offset": offset,
        "sort_desc": sort_desc,
        "load_input": load_input,
        "load_output": load_output,
    }


async def list_queued_workflows(io: Io, place: Place, **filters: Any) -> list[WorkflowStatus]:
    filters.setdefault("status", None)
    filters["status"] = filters["status"] or ["DELAYED", "ENQUEUED", "PENDING"]
    return await list_workflows(io, place, queues_only=True, **filters)


async def list_steps(
    io: Io,
    place: Place,
    workflow_id: str,
    load_output: bool = True,
    limit: int | None = None,
    offset: int | None = None,
) -> list[StepInfo]:
    async def fetch() -> list[StepRow]:
        return await io.database(
            lambda: place.database.all(
                calls.list_steps, workflow_id=workflow_id, load_output=load_output, limit=limit, offset=offset
            )
        )

    found = await recorded_call(io, "DBOS.listWorkflowSteps", fetch, pack, partial(unpack, StepRow))
    return [step_info(row, place.codec) for row in found]


async def cancel(io: Io, place: Place, workflow_ids: list[str]) -> None:
    async def change() -> None:
        for workflow_id in workflow_ids:
            await io.database(partial(place.database.one, calls.cancel_workflow, workflow_id=workflow_id))
        if isinstance(place, Executor):
            place.ticker.wake()  # what of them runs here is told by the tick

    await recorded_call(io, "DBOS.cancelWorkflow", change)


async def resume(io: Io, place: Place, workflow_ids: list[str], queue_name: str | None = None) -> None:
    if queue_name is not None and isinstance(place, Executor) and queue_name not in place.registry.queues:
        raise DBOSException(f"there is no queue {queue_name!r}: declare it with Queue({queue_name!r})")

    async def change() -> None:
        for workflow_id in workflow_ids:
            call = partial(place.database.one, calls.resume_workflow, workflow_id=workflow_id, queue=queue_name)
            verdict = await io.database(call)
            if verdict == "unknown":
                raise DBOSNonExistentWorkflowError(workflow_id)
        if isinstance(place, Executor):
            place.dispatcher.announce(queue_name or INTERNAL_QUEUE)

    await recorded_call(io, "DBOS.resumeWorkflow", change)


async def delete(io: Io, place: Place, workflow_ids: list[str], delete_children: bool = False) -> None:
    async def change() -> None:
        doomed = list(workflow_ids)
        while doomed:
            # The last generation first: a repeat after half of it was done still finds the rest by their parents.
            family = await _with_descendants(io, place, doomed) if delete_children else doomed
            for workflow_id in reversed(family):
                await io.database(partial(place.database.one, calls.delete_workflow, workflow_id=workflow_id))
            # What ran until now may have started more. Deleted, it starts nothing.
            doomed = (await _with_descendants(io, place, family))[len(family) :] if delete_children else []
        if isinstance(place, Executor):
            place.ticker.wake()  # what of them runs here is told by the tick

    await recorded_call(io, "DBOS.deleteWorkflow", change)


async def _with_descendants(io: Io, place: Place, workflow_ids: list[str]) -> list[str]:
    """These workflows, then their children, then the children of those."""
    family = dict.fromkeys(workflow_ids)
    generation = list(family)
    while generation:
        filters = _filters(parent_workflow_id=generation, load_input=False, load_output=False)
        found = await io.database(partial(place.database.all, calls.list_workflows, **filters))
        generation = [row.workflow_id for row in found if row.workflow_id not in family]
        family.update(dict.fromkeys(generation))
    return list(family)


def check_polling_interval(seconds: float) -> None:
    check_seconds("polling_interval_sec", seconds)
