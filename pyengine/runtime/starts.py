"""Starting workflows: at once in this process, or on a queue; as roots or as children of the workflow that asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ..db import calls
from ..db.batches import ENQUEUES, STARTS, Arguments, Batch
from ..errors import (
    ClaimLost,
    DBOSConflictingWorkflowError,
    DBOSException,
    DBOSQueueDeduplicatedError,
    DBOSUnexpectedStepError,
    DBOSWorkflowIDInUseError,
    ExecutorFenced,
)
from ..logs import logger
from .context import Settings, Unset, current_frame, current_settings
from .io import Io
from .registry import QueueSpec, WorkflowSpec
from .run import Run, check_size
from .tokens import time_ordered_id, token

if TYPE_CHECKING:
    from .executor import Executor
    from .incarnations import Identity

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Started:
    """`run` is None when the workflow is not ours to run: it exists already, or it waits on a queue."""

    workflow_id: str
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """The workflow that starts another one, and the step of it that does."""

    run: Run
    step_id: int


def draw_parent(spec: WorkflowSpec) -> Parent | None:
    """The workflow this code is part of, with the number of its next step; None outside of workflows."""
    frame = current_frame.get()
    if frame is None:
        return None
    if frame.step is not None:
        raise DBOSException(f"workflow {spec.name} cannot be started from within a step: start it from the workflow")
    return Parent(frame.run, frame.run.draw_step_id())


async def start(
    io: Io,
    executor: Executor,
    spec: WorkflowSpec,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    parent: Parent | None,
) -> Started:
    """Start a workflow that this executor runs itself."""
    settings = current_settings.get()
    if settings.enqueue_only:
        raise DBOSException(
            f"{', '.join(settings.enqueue_only)} can only be used with a queue: enqueue {spec.name}, do not start it"
        )
    return await Start(io, executor, spec, settings, None, parent).make(args, kwargs)


async def enqueue(
    io: Io, executor: Executor, queue: QueueSpec, spec: WorkflowSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Started:
    """Put a workflow on a queue, for any executor that serves it."""
    settings = current_settings.get()
    check_enqueue(queue, settings)
    return await Start(io, executor, spec, settings, queue, draw_parent(spec)).make(args, kwargs)


def check_enqueue(queue: QueueSpec, settings: Settings) -> None:
    if queue.is_partitioned and not settings.partition_key:
        raise DBOSException(
            f"queue {queue.name!r} is partitioned: name the partition with SetEnqueueOptions(queue_partition_key=...)"
        )
    if settings.partition_key and not queue.is_partitioned:
        raise DBOSException(f"queue {queue.name!r} is not partitioned: declare it with partition_queue=True")
    if settings.partition_key and settings.deduplication_id:
        raise DBOSException("a deduplication id cannot be used together with a partition key")
    if settings.priority is not None and not queue.priority_enabled:
        logger.warning(
            "Queue %s was declared without priority_enabled: the priority of this workflow is ignored", queue.name
        )


class Start:
    def __init__(
        self,
        io: Io,
        executor: Executor,
        spec: WorkflowSpec,
        settings: Settings,
        queue: QueueSpec | None,
        parent: Parent | None,
    ) -> None:
        self.io = io
        self.executor = executor
        self.spec = spec
        self.settings = settings
        self.queue = queue
        self.parent = parent

    async def make(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started:
        return await self.recall() or await self.ask(*self.prepare(args, kwargs))

    async def recall(self) -> Started | None:
        """In a replay: what an earlier run started here. Raises what it raised."""
        parent = self.parent
        recorded = None if parent is None else parent.run.recorded(parent.step_id, self.spec.name)
        if recorded is not None and recorded.child_id is not None:
            if self._take_id_request() is not None and self._rejects(recorded.child_id):
                await self._check_first_start(recorded.child_id)
            return Started(recorded.child_id)
        if recorded is not None and recorded.error is not None:
            self._take_id_request()
            raise self.executor.codec.decode_error(recorded.error)
        return None

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Arguments]:
        """The id, and the arguments of the call to the database but for who calls."""
        workflow_id = self._workflow_id()
        inputs = self.executor.codec.encode_call(args, kwargs)
        check_size(f"the arguments of workflow {self.spec.name}", inputs)
        arguments = {**self._header(workflow_id, inputs), **self._time_limits(), **self._parentage()}
        if self.queue is None:
            return workflow_id, {"fence": token(), **arguments}
        return workflow_id, {**arguments, **self._enqueue_options(self.queue)}

    async def ask(self, workflow_id: str, arguments: Arguments) -> Started:
        if self.queue is None:
            return await self._start(workflow_id, arguments)
        return await self._enqueue(self.queue, workflow_id, arguments)

    # -- what is asked for -------------------------------------------------------------------------

    def _take_id_request(self) -> str | None:
        request = self.settings.id_request
        if request is None:
            return None
        if request.is_taken:
            logger.warning(
                "SetWorkflowID(%s) names the first workflow of its block only; this one gets a generated id",
                request.workflow_id,
            )
            return None
        request.is_taken = True
        return request.workflow_id

    def _rejects(self, workflow_id: str) -> bool:
        request = self.settings.id_request
        return request is not None and request.reject_existing and request.workflow_id == workflow_id

    async def _check_first_start(self, workflow_id: str) -> None:
        """In a replay: a child is on record also where the id was in use already, and the first run was told so."""
        assert self.parent is not None
        run, step_id = self.parent.run, self.parent.step_id
        found = await self._call(lambda: self.executor.database.all(calls.get_workflows, workflow_ids=[workflow_id]))
        is_own = any(row.parent_workflow_id == run.workflow_id for row in found)
        is_first = all(row.child_id != workflow_id for number, row in run.checkpoints.items() if number < step_id)
        if not (is_own and is_first):
            raise DBOSWorkflowIDInUseError(workflow_id)

    def _workflow_id(self) -> str:
        asked = self._take_id_request()
        if asked is not None:
            return asked
        parent = self.parent
        return time_ordered_id() if parent is None else f"{parent.run.workflow_id}-{parent.step_id}"

    def _header(self, workflow_id: str, inputs: bytes) -> dict[str, Any]:
        settings = self.settings
        return {
            "start_token": token(),
            "workflow_id": workflow_id,
            "name": self.spec.name,
            "class_name": self.spec.class_name,
            "config_name": None,
            "application": self.executor.application,
            # What runs here runs this version; only what is put on a queue may be left to another one.
            "app_version": (self.queue and settings.app_version) or self.executor.app_version,
            "inputs": inputs,
            "max_recovery_attempts": self.spec.max_recovery_attempts,
            "attributes": None if settings.attributes is None else json.dumps(settings.attributes),
            "authenticated_user": settings.authenticated_user,
            "assumed_role": settings.assumed_role,
            "authenticated_roles": settings.authenticated_roles,
        }

    def _time_limits(self) -> dict[str, Any]:
        """An own timeout counts from the start (of a queued workflow: from its claim); without one, the parent's
        deadline holds.
        """
        timeout = self.settings.timeout
        deadline: datetime | None = None
        if isinstance(timeout, Unset):
            timeout = None
            deadline = None if self.parent is None else self.parent.run.deadline
        return {"timeout": None if timeout is None else timedelta(seconds=timeout), "deadline": deadline}

    def _parentage(self) -> dict[str, Any]:
        parent = self.parent
        if parent is None:
            return {"parent_id": None, "parent_fence": None, "parent_step_id": None}
        return {"parent_id": parent.run.workflow_id, "parent_fence": parent.run.fence, "parent_step_id": parent.step_id}

    def _enqueue_options(self, queue: QueueSpec) -> dict[str, Any]:
        settings = self.settings
        delay = settings.delay_seconds
        return {
            "queue": queue.name,
            "partition_key": settings.partition_key,
            "priority": (settings.priority or 0) if queue.priority_enabled else 0,
            "deduplication_id": settings.deduplication_id,
            "delay": None if delay is None else timedelta(seconds=delay),
            "schedule_name": None,
        }

    # -- asking ------------------------------------------------------------------------------------

    async def _start(self, workflow_id: str, arguments: dict[str, Any]) -> Started:
        identity, verdict = await self._commit(STARTS, arguments)
        self._heed(verdict, workflow_id)
        if verdict.verdict != "yours" or verdict.fence is None or verdict.fencing_token is None:
            return Started(workflow_id)
        run = Run(
            self.executor,
            self.spec,
            workflow_id,
            verdict.fence,
            fencing_token=verdict.fencing_token,
            deadline=verdict.deadline,
            parent_id=arguments["parent_id"],
            authentication=(
                arguments["authenticated_user"],
                arguments["assumed_role"],
                arguments["authenticated_roles"],
            ),
            identity=identity,
        )
        self.executor.take_on(run)
        return Started(workflow_id, run)

    async def _enqueue(self, queue: QueueSpec, workflow_id: str, arguments: dict[str, Any]) -> Started:
        _, verdict = await self._commit(ENQUEUES, arguments)
        if verdict.verdict == "deduplicated":
            return await self._deduplicated(queue, workflow_id, verdict.holder_id or "")
        self._heed(verdict, workflow_id)
        if verdict.verdict == "exists" and verdict.existing_queue not in (None, queue.name):
            logger.warning(
                "Workflow %s is already on queue %s; it is not moved to %s",
                workflow_id,
                verdict.existing_queue,
                queue.name,
            )
        self.announce(queue)
        return Started(workflow_id)

    def announce(self, queue: QueueSpec) -> None:
        """There is something on the queue."""
        if self.settings.delay_seconds is None:
            may_run_here = self.settings.app_version in (None, self.executor.app_version)
            self.executor.dispatcher.announce(queue.name, may_run_here=may_run_here)

    async def _deduplicated(self, queue: QueueSpec, workflow_id: str, holder_id: str) -> Started:
        """In a workflow a checkpoint, like the start of a child: a replay must not find the key free meanwhile."""
        parent, codec = self.parent, self.executor.codec
        if self.settings.return_existing:
            if parent is not None:
                await parent.run.record(self.io, parent.step_id, self.spec.name, child_id=holder_id)
            return Started(holder_id)
        error = DBOSQueueDeduplicatedError(workflow_id, queue.name, self.settings.deduplication_id or "")
        if parent is not None:
            await parent.run.record(self.io, parent.step_id, self.spec.name, error=codec.encode_error(error))
        raise error

    async def _call(self, call: Callable[[], Any]) -> Any:
        parent = self.parent
        return await (self.executor.call(self.io, call) if parent is None else parent.run.call(self.io, call))

    async def _commit(self, batch: Batch[V], arguments: Arguments) -> tuple[Identity, V]:
        """The identity is of the incarnation that asked. After a fence a root is asked for again under the new one; a
        child is started by its parent's, which it must not outlive.
        """
        parent, executor = self.parent, self.executor
        if parent is not None:
            identity = parent.run.identity
            return identity, await parent.run.commit(self.io, batch, {**identity.owner, **arguments})
        identity = executor.identity
        try:
            return identity, await self.io.commit(executor.committer, batch, {**identity.owner, **arguments})
        except ExecutorFenced:
            executor.on_fenced(identity)
        await self.io.database(executor.ensure_registered)
        identity = executor.identity
        return identity, await self.io.commit(executor.committer, batch, {**identity.owner, **arguments})

    def _heed(self, verdict: Any, workflow_id: str) -> None:
        parent = self.parent
        if parent is not None:
            parent.run.heed(verdict.verdict)
            if verdict.verdict == "unexpected_step":
                raise DBOSUnexpectedStepError(
                    parent.run.workflow_id, parent.step_id, self.spec.name, verdict.existing_name or ""
                )
        elif verdict.verdict == "fenced":
            raise ClaimLost("the executor was fenced while it started a workflow")
        if verdict.verdict != "exists":
            return
        if (verdict.existing_name, verdict.existing_class_name) != (self.spec.name, self.spec.class_name):
            raise DBOSConflictingWorkflowError(workflow_id, f"it runs {verdict.existing_name}, not {self.spec.name}")
        if self._rejects(workflow_id):
            raise DBOSWorkflowIDInUseError(workflow_id)
