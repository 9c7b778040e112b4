from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, read

# Of this test's own database: others share the server.
ADVISORY_LOCKS = """
    select 1 from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""


def test_row_names_the_backend(executor: Executor) -> None:
    assert executor.hold_liveness()
    assert executor.stored()["liveness_pid"] == executor.connection.info.backend_pid


def test_repeat_takes_nothing_twice(executor: Executor) -> None:
    assert executor.hold_liveness()
    assert executor.hold_liveness()
    executor.connection.execute(
        "select pg_advisory_unlock(pyengine._advisory_key('liveness', %s))", (str(executor.id),)
    )

    assert read(executor.connection, ADVISORY_LOCKS) == []


def test_old_connection_still_holds_it(
    executor: Executor, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    executor.hold_liveness()
    executor.connection = session_factory()

    assert not executor.hold_liveness()
    assert executor.stored()["liveness_pid"] is None


def test_dead_executor_keeps_no_lock(executor: Executor) -> None:
    executor.retire()

    with pytest.raises(psycopg.Error) as caught:
        executor.hold_liveness()
    assert caught.value.sqlstate == "WF001"
    assert read(executor.connection, ADVISORY_LOCKS) == []
