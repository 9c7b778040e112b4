"""The one engine of a process, as the API finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DBOSException

if TYPE_CHECKING:
    from ..runtime.executor import Executor
    from ._dbos import DBOS


class _State:
    instance: DBOS | None = None


STATE = _State()


def executor(what: str) -> Executor:
    """The running executor; a clear error when there is none yet."""
    instance = STATE.instance
    if instance is None:
        raise DBOSException(
            f"{what} was invoked before DBOS was initialized: create DBOS() and call DBOS.launch() first"
        )
    if instance.executor is None:
        raise DBOSException(f"{what} was invoked before DBOS was launched: call DBOS.launch() first")
    return instance.executor
