from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, rows


def test_living_executor_may_write(executor: Executor) -> None:
    rows(executor.connection, "_hold_lease", **executor.me)


@pytest.mark.parametrize("change", [{"nonce": 1}, {"executor_id": 99}])
def test_unknown_executor_or_nonce_is_fenced(executor: Executor, change: dict[str, int]) -> None:
    with pytest.raises(psycopg.Error) as caught:
        rows(executor.connection, "_hold_lease", **(executor.me | change))
    assert caught.value.sqlstate == "WF001"


def test_dead_executor_is_fenced(executor: Executor) -> None:
    executor.retire()
    with pytest.raises(psycopg.Error) as caught:
        rows(executor.connection, "_hold_lease", **executor.me)
    assert caught.value.sqlstate == "WF001"


def test_expired_lease_alone_refuses_nothing(executor: Executor) -> None:
    executor.connection.execute("update pyengine.executors set lease_expires_at = '2000-01-01'")
    rows(executor.connection, "_hold_lease", **executor.me)


@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
def test_stricter_isolation_is_refused(
    executor: Executor, session_factory: Callable[..., psycopg.Connection[Any]], level: str
) -> None:
    connection = session_factory(autocommit=False)
    connection.isolation_level = psycopg.IsolationLevel[level]
    with pytest.raises(psycopg.Error) as caught:
        rows(connection, "_hold_lease", **executor.me)
    assert caught.value.sqlstate == "WF005"
