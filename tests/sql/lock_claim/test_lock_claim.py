from __future__ import annotations

import pytest

from plugins.executors import Connection, Executor, value
from plugins.queueing import cancel, resume


def lock(connection: Connection, workflow_id: str | None, fence: int | None) -> str:
    found: str = value(connection, "lock_claim", workflow_id=workflow_id, fence=fence)
    return found


def test_the_owner_holds_its_claim(executor: Executor) -> None:
    executor.start("w", fence=5)

    assert lock(executor.connection, "w", 5) == "held"


@pytest.mark.parametrize(("workflow_id", "fence"), [("w", 6), ("other", 5), ("w", None), (None, 5), (None, None)])
def test_nobody_else_does(executor: Executor, workflow_id: str | None, fence: int | None) -> None:
    executor.start("w", fence=5)

    assert lock(executor.connection, workflow_id, fence) == "fenced"


def test_a_cancelled_workflow_says_so_until_it_is_resumed(executor: Executor) -> None:
    executor.start("w", fence=5)
    cancel(executor.connection, "w")

    assert lock(executor.connection, "w", 5) == "cancelled"
    resume(executor.connection, "w")
    assert lock(executor.connection, "w", 5) == "fenced"


def test_a_finished_workflow_is_nobodys(executor: Executor) -> None:
    executor.start("w", fence=5)
    executor.finish("w", 5)

    assert lock(executor.connection, "w", 5) == "fenced"


def test_nothing_outlives_the_transaction(executor: Executor) -> None:
    executor.start("w", fence=5)
    with executor.connection.transaction():
        lock(executor.connection, "w", 5)
    left = executor.connection.execute(
        "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
    ).fetchone()

    assert left == (0,)
    assert executor.finish("w", 5) == "ok"
