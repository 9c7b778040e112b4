"""A host that vanishes says no goodbye: the server asks after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, value

Sessions = Callable[..., psycopg.Connection[Any]]


@pytest.mark.parametrize("ttl", [1, 5, 15, 60])
def test_the_server_lets_go_of_a_host_that_vanished_within_its_lease(session_factory: Sessions, ttl: int) -> None:
    executor = Executor(session_factory(), lease_ttl=timedelta(seconds=ttl))
    assert value(executor.connection, "hold_liveness", **executor.me)

    def setting(name: str) -> int:
        query = "select setting from pg_settings where name = %s"
        found = executor.connection.execute(query, (name,)).fetchone()
        assert found is not None
        return int(found[0])

    assert setting("tcp_user_timeout") == 900 * ttl
    idle, interval, count = (setting(f"tcp_keepalives_{each}") for each in ("idle", "interval", "count"))
    assert min(idle, interval, count) >= 1
    assert idle + interval * count <= max(ttl, 2)
