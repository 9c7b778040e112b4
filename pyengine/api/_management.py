"""The part of DBOS that reads and manages workflows: each name and its `_async` twin over one operation."""

from __future__ import annotations

from typing import Any

from ..runtime.io import BLOCKING, SUSPENDING, refuse_in_event_loop, run_blocking
from . import _operations as operations
from ._handles import WorkflowHandle, WorkflowHandleAsync
from ._state import executor
from ._status import StepInfo, WorkflowStatus


class Management:
    @classmethod
    def sleep(cls, seconds: float) -> None:
        """Sleep durably in a workflow: a workflow recovered meanwhile sleeps only what is left."""
        refuse_in_event_loop("DBOS.sleep", "DBOS.sleep_async(...)")
        run_blocking(operations.sleep(BLOCKING, executor("DBOS.sleep"), seconds))

    @classmethod
    async def sleep_async(cls, seconds: float) -> None:
        """As sleep. Costs no thread."""
        await operations.sleep(SUSPENDING, executor("DBOS.sleep_async"), seconds)

    @classmethod
    def get_result(cls, workflow_id: str) -> Any:
        """Wait for a workflow's end: its result, or its exception raised as itself. An id that nobody started is
        waited for, too.
        """
        refuse_in_event_loop("DBOS.get_result", "DBOS.get_result_async(...)")
        return run_blocking(operations.get_result(BLOCKING, executor("DBOS.get_result"), workflow_id))

    @classmethod
    async def get_result_async(cls, workflow_id: str) -> Any:
        return await operations.get_result(SUSPENDING, executor("DBOS.get_result_async"), workflow_id)

    @classmethod
    def retrieve_workflow(cls, workflow_id: str, existing_workflow: bool = True) -> WorkflowHandle[Any]:
        """A handle by id. DBOSNonExistentWorkflowError when there is no such workflow, unless existing_workflow
        is False.
        """
        if existing_workflow:
            run_blocking(operations.require_status(BLOCKING, executor("DBOS.retrieve_workflow"), workflow_id))
        return WorkflowHandle(workflow_id)

    @classmethod
    async def retrieve_workflow_async(
        cls, workflow_id: str, existing_workflow: bool = True
    ) -> WorkflowHandleAsync[Any]:
        if existing_workflow:
            await operations.require_status(SUSPENDING, executor("DBOS.retrieve_workflow_async"), workflow_id)
        return WorkflowHandleAsync(workflow_id)

    @classmethod
    def get_workflow_status(cls, workflow_id: str) -> WorkflowStatus | None:
        """None when there is no such workflow."""
        return run_blocking(operations.get_status(BLOCKING, executor("DBOS.get_workflow_status"), workflow_id))

    @classmethod
    async def get_workflow_status_async(cls, workflow_id: str) -> WorkflowStatus | None:
        return await operations.get_status(SUSPENDING, executor("DBOS.get_workflow_status_async"), workflow_id)

    @classmethod
    def list_workflows(cls, **filters: Any) -> list[WorkflowStatus]:
        """Workflows, by their time of creation.

        Filters, one value or a list each, times as ISO 8601: workflow_ids, status, start_time, end_time,
        completed_after, completed_before, dequeued_after, dequeued_before, name, app_version, forked_from,
        parent_workflow_id, user, queue_name, workflow_id_prefix, executor_id, queues_only, is_fork, has_parent,
        attributes, schedule_name, application_name. Also limit, offset, sort_desc, load_input, load_output.
        """
        return run_blocking(operations.list_workflows(BLOCKING, executor("DBOS.list_workflows"), **filters))

    @classmethod
    async def list_workflows_async(cls, **filters: Any) -> list[WorkflowStatus]:
        return await operations.list_workflows(SUSPENDING, executor("DBOS.list_workflows_async"), **filters)

    @classmethod
    def list_queued_workflows(cls, **filters: Any) -> list[WorkflowStatus]:
        """Unfinished workflows on queues; the filters of list_workflows."""
        return run_blocking(
            operations.list_queued_workflows(BLOCKING, executor("DBOS.list_queued_workflows"), **filters)
        )

    @classmethod
    async def list_queued_workflows_async(cls, **filters: Any) -> list[WorkflowStatus]:
        return await operations.list_queued_workflows(
            SUSPENDING, executor("DBOS.list_queued_workflows_async"), **filters
        )

    @classmethod
    def list_workflow_steps(
        cls, workflow_id: str, *, load_output: bool = True, limit: int | None = None, offset: int | None = None
    ) -> list[StepInfo]:
        """The recorded steps of a workflow, in their order."""
        engine = executor("DBOS.list_workflow_steps")
        return run_blocking(operations.list_steps(BLOCKING, engine, workflow_id, load_output, limit, offset))

    @classmethod
    async def list_workflow_steps_async(
        cls, workflow_id: str, *, load_output: bool = True, limit: int | None = None, offset: int | None = None
    ) -> list[StepInfo]:
        engine = executor("DBOS.list_workflow_steps_async")
        return await operations.list_steps(SUSPENDING, engine, workflow_id, load_output, limit, offset)

    @classmethod
    def cancel_workflow(cls, workflow_id: str) -> None:
        """Cancel an unfinished workflow: off its queue at once; a running one raises at its next engine call.
        Others are left alone.
        """
        run_blocking(operations.cancel(BLOCKING, executor("DBOS.cancel_workflow"), [workflow_id]))

    @classmethod
    async def cancel_workflow_async(cls, workflow_id: str) -> None:
        await operations.cancel(SUSPENDING, executor("DBOS.cancel_workflow_async"), [workflow_id])

    @classmethod
    def cancel_workflows(cls, workflow_ids: list[str]) -> None:
        run_blocking(operations.cancel(BLOCKING, executor("DBOS.cancel_workflows"), workflow_ids))

    @classmethod
    async def cancel_workflows_async(cls, workflow_ids: list[str]) -> None:
        await operations.cancel(SUSPENDING, executor("DBOS.cancel_workflows_async"), workflow_ids)

    @classmethod
    def resume_workflow(cls, workflow_id: str, *, queue_name: str | None = None) -> WorkflowHandle[Any]:
        """Run a cancelled or set-aside workflow on from its last checkpoint; one still queued jumps its queue.

        Its attempts count anew and its deadline is cleared. DBOSNonExistentWorkflowError when there is no such
        workflow.
        """
        run_blocking(operations.resume(BLOCKING, executor("DBOS.resume_workflow"), [workflow_id], queue_name))
        return WorkflowHandle(workflow_id)

    @classmethod
    async def resume_workflow_async(
        cls, workflow_id: str, *, queue_name: str | None = None
    ) -> WorkflowHandleAsync[Any]:
        await operations.resume(SUSPENDING, executor("DBOS.resume_workflow_async"), [workflow_id], queue_name)
        return WorkflowHandleAsync(workflow_id)

    @classmethod
    def resume_workflows(cls, workflow_ids: list[str], *, queue_name: str | None = None) -> list[WorkflowHandle[Any]]:
        run_blocking(operations.resume(BLOCKING, executor("DBOS.resume_workflows"), workflow_ids, queue_name))
        return [WorkflowHandle(workflow_id) for workflow_id in workflow_ids]

    @classmethod
    async def resume_workflows_async(
        cls, workflow_ids: list[str], *, queue_name: str | None = None
    ) -> list[WorkflowHandleAsync[Any]]:
        await operations.resume(SUSPENDING, executor("DBOS.resume_workflows_async"), workflow_ids, queue_name)
        return [WorkflowHandleAsync(workflow_id) for workflow_id in workflow_ids]

    @classmethod
    def delete_workflow(cls, workflow_id: str, *, delete_children: bool = False) -> None:
        """Remove all that is stored of a workflow, whatever its status, and if asked for of its children and theirs.

        It cannot be undone. A run of it ends at its next engine call. An unknown id is left alone.
        """
        run_blocking(operations.delete(BLOCKING, executor("DBOS.delete_workflow"), [workflow_id], delete_children))

    @classmethod
    async def delete_workflow_async(cls, workflow_id: str, *, delete_children: bool = False) -> None:
        engine = executor("DBOS.delete_workflow_async")
        await operations.delete(SUSPENDING, engine, [workflow_id], delete_children)

    @classmethod
    def delete_workflows(cls, workflow_ids: list[str], *, delete_children: bool = False) -> None:
        run_blocking(operations.delete(BLOCKING, executor("DBOS.delete_workflows"), workflow_ids, delete_children))

    @classmethod
    async def delete_workflows_async(cls, workflow_ids: list[str], *, delete_children: bool = False) -> None:
        engine = executor("DBOS.delete_workflows_async")
        await operations.delete(SUSPENDING, engine, workflow_ids, delete_children)
