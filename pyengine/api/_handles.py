"""Handles: a workflow by its id, wherever it runs."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from ..runtime.io import BLOCKING, SUSPENDING, refuse_in_event_loop, run_blocking
from . import _operations as operations
from ._state import executor
from ._status import WorkflowStatus

R_co = TypeVar("R_co", covariant=True)


class _Handle(Generic[R_co]):
    def __init__(self, workflow_id: str) -> None:
        self._workflow_id = workflow_id

    @property
    def workflow_id(self) -> str:
        return self._workflow_id

    def get_workflow_id(self) -> str:
        return self._workflow_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._workflow_id!r})"


class WorkflowHandle(_Handle[R_co]):
    """A workflow started or found by sync code."""

    def get_result(self, *, polling_interval_sec: float = 1.0) -> R_co:
        """Wait for the workflow's end. Returns its result or raises its exception as itself.

        DBOSAwaitedWorkflowCancelledError when it was cancelled, DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded
        when it was set aside. In a workflow the result is a step. `polling_interval_sec` is checked and otherwise
        not needed: one poll serves all waiters.
        """
        refuse_in_event_loop("WorkflowHandle.get_result", "DBOS.get_result_async(handle.workflow_id)")
        operations.check_polling_interval(polling_interval_sec)
        return cast(R_co, run_blocking(operations.get_result(BLOCKING, executor("get_result"), self._workflow_id)))

    def get_status(self) -> WorkflowStatus:
        """Raises DBOSNonExistentWorkflowError when there is no such workflow."""
        return run_blocking(operations.require_status(BLOCKING, executor("get_status"), self._workflow_id))


class WorkflowHandleAsync(_Handle[R_co]):
    """A workflow started or found by async code."""

    async def get_result(self, *, polling_interval_sec: float = 1.0) -> R_co:
        """As WorkflowHandle.get_result."""
        operations.check_polling_interval(polling_interval_sec)
        return cast(R_co, await operations.get_result(SUSPENDING, executor("get_result"), self._workflow_id))

    async def get_status(self) -> WorkflowStatus:
        return await operations.require_status(SUSPENDING, executor("get_status"), self._workflow_id)
