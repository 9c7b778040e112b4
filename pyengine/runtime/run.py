"""One execution of one workflow in this process, under one claim: its step counter, its checkpoints, and how it
is interrupted.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ..db.batches import CHECKPOINTS, SLEEPS, Arguments, Batch
from ..db.rows import Checkpoint, CheckpointVerdict
from ..errors import (
    ClaimLost,
    DBOSPayloadTooLargeError,
    DBOSUnexpectedStepError,
    DBOSWorkflowCancelledError,
    ExecutorFenced,
)
from .io import Io
from .registry import WorkflowSpec

if TYPE_CHECKING:
    from .executor import Executor
    from .incarnations import Identity

T = TypeVar("T")

# Postgres sends no row of more than 1 GB, and bytes in it take two characters each. A row that is read holds two
# payloads at most: what went into a workflow and what came out.
MAX_PAYLOAD_BYTES = 250_000_000


class Run:
    """Keyed by (workflow id, fence): the same workflow claimed again is another run."""

    def __init__(
        self,
        executor: Executor,
        spec: WorkflowSpec,
        workflow_id: str,
        fence: int,
        *,
        identity: Identity,
        fencing_token: int,
        deadline: datetime | None,
        parent_id: str | None = None,
        queue: str | None = None,
        authentication: tuple[str | None, str | None, list[str] | None] = (None, None, None),
        checkpoints: list[Checkpoint] | None = None,
    ) -> None:
        self.executor = executor
        self.identity = identity
        self.spec = spec
        self.workflow_id = workflow_id
        self.fence = fence
        self.fencing_token = fencing_token
        # The arguments by which the database knows this run.
        self.claim = {**identity.owner, "workflow_id": workflow_id, "fence": fence}
        self.deadline = deadline
        self.parent_id = parent_id
        self.queue = queue
        self.authenticated_user, self.assumed_role, self.authenticated_roles = authentication
        self.checkpoints = {row.step_id: row for row in checkpoints} if checkpoints else {}
        self.task: asyncio.Task[Any] | None = None  # on the workflow loop
        self._step_ids = itertools.count(1)
        self._lock = threading.Lock()
        self._waits: set[Future[Any]] = set()
        self._watches: set[Future[None]] = set()
        # Whether it takes one of the executor's threads: sync, and not called on a thread of the application's.
        self.needs_thread = False
        self._interruption: Callable[[], BaseException] | None = None
        self._may_finish = False
        self._has_ended = False

    @property
    def is_claimed(self) -> bool:
        """Off a queue, and not started here."""
        return self.queue is not None

    def __repr__(self) -> str:
        return f"Run({self.spec.name} {self.workflow_id})"

    # -- steps -------------------------------------------------------------------------------------

    def draw_step_id(self) -> int:
        """The number of the next engine call. Drawn when the call is made, so that a replay draws the same."""
        self.check()
        return next(self._step_ids)

    def recorded(self, step_id: int, name: str) -> Checkpoint | None:
        """What an earlier run recorded for this step; a name other than the recorded one means that the code took
        another way.
        """
        row = self.checkpoints.get(step_id)
        if row is not None and row.name is not None and row.name != name:
            raise DBOSUnexpectedStepError(self.workflow_id, step_id, name, row.name)
        return row

    async def record(
        self,
        io: Io,
        step_id: int,
        name: str,
        *,
        output: bytes | None = None,
        error: bytes | None = None,
        child_id: str | None = None,
        elapsed: float = 0.0,
    ) -> CheckpointVerdict:
        """Store a checkpoint. Returns what stands afterwards, which is an earlier value if there was one."""
        check_size(f"step {name}", output, error)
        verdict = await self.commit(
            io,
            CHECKPOINTS,
            {
                **self.claim,
                "step_id": step_id,
                "name": name,
                "output": output,
                "error": error,
                "child_id": child_id,
                "elapsed": timedelta(seconds=elapsed),
            },
        )
        self.heed(verdict.verdict)
        if verdict.verdict == "existing" and verdict.name != name:
            raise DBOSUnexpectedStepError(self.workflow_id, step_id, name, verdict.name or "")
        return verdict

    # -- calling and waiting -----------------------------------------------------------------------

    @property
    def owner(self) -> dict[str, Any]:
        return self.identity.owner

    async def call(self, io: Io, call: Callable[[], T]) -> T:
        """Call the database for this run; a dead mark on its executor ends the run."""
        try:
            return await io.database(call)
        except ExecutorFenced:
            self.executor.on_fenced(self.identity)
            raise

    async def commit(self, io: Io, batch: Batch[T], arguments: Arguments) -> T:
        """As `call`, for what may share a transaction with others."""
        try:
            return await io.commit(self.executor.committer, batch, arguments)
        except ExecutorFenced:
            self.executor.on_fenced(self.identity)
            raise

    async def wait(self, io: Io, future: Future[T], timeout: float | None = None) -> T:
        """Wait, interruptibly. A waiting run does not count against what its executor takes on."""
        with self._lock:
            self.check()
            was_busy = not self._waits
            self._waits.add(future)
        if was_busy:
            self._busy(-1)
        try:
            with self.executor.threads.lent():
                return await io.wait(future, timeout)
        finally:
            with self._lock:
                self._waits.discard(future)
                is_busy = not self._waits
            if is_busy:
                self._busy(+1)

    def _busy(self, by: int) -> None:
        self.executor.load.change(by, needs_thread=self.needs_thread, is_claimed=self.is_claimed)

    async def pause(self, io: Io, seconds: float) -> None:
        """Do nothing for a while, interruptibly."""
        if seconds <= 0:
            return
        try:
            await self.wait(io, Future(), seconds)
        except TimeoutError:
            return

    async def sleep(self, io: Io, step_id: int, seconds: float) -> None:
        """Sleep until an instant that is fixed, durably, before the first sleep and kept by every replay."""
        duration = timedelta(seconds=seconds)
        verdict = await self.commit(
            io, SLEEPS, {**self.claim, "step_id": step_id, "name": "DBOS.sleep", "duration": duration}
        )
        self.heed(verdict.verdict)
        if verdict.name != "DBOS.sleep":
            raise DBOSUnexpectedStepError(self.workflow_id, step_id, "DBOS.sleep", verdict.name or "")
        if verdict.remaining is not None:
            await self.pause(io, verdict.remaining.total_seconds())

    # -- interruption ------------------------------------------------------------------------------

    def interrupt(self, make_error: Callable[[], BaseException], *, may_finish: bool = False) -> None:
        """Raise this in the run: at once where it waits in the engine or is in a preemptible step, else at its next
        engine call. `may_finish`: a step that runs comes to its end, and so does a run that makes no further call;
        until it is interrupted for another reason.
        """
        with self._lock:
            if self._interruption is not None and not self._may_finish:
                return
            self._interruption = make_error
            self._may_finish = may_finish
            waits = list(self._waits)
            watches = [] if may_finish else list(self._watches)
            if not self._has_ended and isinstance(make_error(), DBOSWorkflowCancelledError | ClaimLost):
                self.executor.limits.of_cancelled(self)
        for future in waits:
            settle(future, error=make_error())
        for watch in watches:
            settle(watch, result=None)

    @contextmanager
    def watched(self) -> Iterator[Future[None]]:
        """A future that is done as soon as the run is interrupted."""
        watch: Future[None] = Future()
        with self._lock:
            self.check(may_finish=True)
            self._watches.add(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)

    def end(self) -> None:
        """Its code has ended: no limit holds any more."""
        with self._lock:
            self._has_ended = True
            self.executor.limits.lift(self)

    def check(self, *, may_finish: bool = False) -> None:
        """Raise what the run was interrupted with. `may_finish`: it is at its end, or inside a step."""
        if self._interruption is not None and not (may_finish and self._may_finish):
            raise self._interruption()

    def heed(self, verdict: str | None) -> None:
        """Raise when the database says that this run is over."""
        if verdict == "cancelled":
            self.interrupt(lambda: DBOSWorkflowCancelledError(workflow_id=self.workflow_id))
        elif verdict == "fenced":
            self.interrupt(lambda: ClaimLost(f"workflow {self.workflow_id} is run by another executor now"))
        else:
            return
        self.check()


def settle(future: Future[T], *, result: T | None = None, error: BaseException | None = None) -> None:
    """Complete a future that may have been completed or cancelled meanwhile."""
    try:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]
    except InvalidStateError:
        return


def check_size(what: str, *payloads: bytes | None) -> None:
    for payload in payloads:
        if payload is not None and len(payload) > MAX_PAYLOAD_BYTES:
            raise DBOSPayloadTooLargeError(what, len(payload), MAX_PAYLOAD_BYTES)
