"""The one engine of a process, as the API finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DBOSException
from ..runtime.context import check_frame, current_run

if TYPE_CHECKING:
    from ..runtime.executor import Executor
    from ._dbos import DBOS


class _State:
    instance: DBOS | None = None


STATE = _State()


def executor(what: str) -> Executor:
    """The executor of the current workflow, else the one that was launched; a clear error when there is none."""
    run = current_run()
    if run is not None and run.executor.is_of_this_process:
        # Whatever is asked for: code that lost its workflow, or whose workflow was cancelled, goes no further.
        check_frame()
        # Also while the engine shuts down: a workflow that is being waited for goes on as if nothing were.
        return run.executor
    instance = STATE.instance
    if instance is None:
        raise DBOSException(
            f"{what} was invoked before DBOS was initialized: create DBOS() and call DBOS.launch() first"
        )
    if instance.executor is None:
        raise DBOSException(f"{what} was invoked before DBOS was launched in this process: call DBOS.launch() first")
    return instance.executor
