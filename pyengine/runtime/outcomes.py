"""From a stored outcome to what a caller of get_result() sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..db.rows import Outcome
from ..errors import (
    DBOSAwaitedWorkflowCancelledError,
    DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded,
    DBOSException,
)
from .context import current_run
from .io import Io

if TYPE_CHECKING:
    from ..serialization import Codec
    from .executor import Executor


async def await_outcome(io: Io, executor: Executor, workflow_id: str, timeout: float | None = None) -> Outcome:
    """Wait until a workflow has ended, wherever it runs. An id that nobody has started yet is waited for, too."""
    future = executor.results.future(workflow_id)
    run = current_run()
    try:
        return await (io.wait(future, timeout) if run is None else run.wait(io, future, timeout))
    finally:
        executor.results.forget(workflow_id, future)


def unwrap(codec: Codec, outcome: Outcome) -> Any:
    """The workflow's return value, or its exception raised as itself."""
    if outcome.status == "SUCCESS":
        return None if outcome.output is None else codec.decode(outcome.output)
    if outcome.status == "CANCELLED":
        raise DBOSAwaitedWorkflowCancelledError(outcome.workflow_id)
    if outcome.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        raise DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded(outcome.workflow_id)
    if outcome.error is None:
        raise DBOSException(f"workflow {outcome.workflow_id} ended as {outcome.status} without an error on record")
    raise codec.decode_error(outcome.error)
