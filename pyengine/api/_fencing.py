"""The part of DBOS by which code of a workflow proves to others that the workflow is still its own."""

from __future__ import annotations

from typing import Any

from ..db import user_transaction
from ..errors import DBOSException
from ..runtime.context import check_frame, current_run
from ..runtime.run import Run
from ._classproperty import classproperty


class Fencing:
    @classproperty
    def fencing_token(cls) -> int | None:
        """A number that is greater with every claim of the current workflow; None outside of workflows.

        Send it along with what a step writes elsewhere. A store that keeps the highest one it saw for the workflow, and
        refuses lower ones, refuses a process that lost the workflow without knowing it.
        """
        run = current_run()
        if run is None:
            return None
        check_frame()
        return run.fencing_token

    @classmethod
    def lock_claim(cls, connection: Any) -> None:
        """Hold the current workflow until the end of the transaction that `connection` is in.

        What this transaction writes is written by the owner of the workflow, or not at all: until it ends, the workflow
        cannot finish, be cancelled or be taken over. If it is too late for that, the run ends here. For a connection of
        psycopg, or a session or connection of SQLAlchemy, to the engine's own database; the isolation level may be any.
        Above READ COMMITTED it can fail with a serialization error (40001): begin the transaction again.
        """
        run = _owner("DBOS.lock_claim")
        run.heed(
            user_transaction.lock_claim(connection, run.executor.database.schema, run.workflow_id, run.fence),
        )

    @classmethod
    async def lock_claim_async(cls, connection: Any) -> None:
        """As lock_claim, for an async connection or session."""
        run = _owner("DBOS.lock_claim_async")
        verdict = await user_transaction.lock_claim_async(
            connection, run.executor.database.schema, run.workflow_id, run.fence
        )
        run.heed(verdict)


def _owner(what: str) -> Run:
    run = current_run()
    if run is None:
        raise DBOSException(f"{what}() can only be called from within a workflow or its steps")
    check_frame()
    return run
