"""An engine that has nothing to do leaves the database alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from plugins.sessions import wait_until
from pyengine import DBOS, Queue
from pyengine.db.connection import Connection


def test_an_idle_executor_makes_two_statements_a_second_at_most(
    launch: Callable[..., type[DBOS]], monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    execute = Connection.execute

    def counted(self: Connection, query: Any, *arguments: Any, **options: Any) -> Any:
        statements.append(str(query))
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(Connection, "execute", counted)

    def ticks() -> int:
        return sum("tick(" in each for each in statements)

    queues = [Queue(f"queue {number}") for number in range(3)]

    @DBOS.workflow()
    def work() -> str:
        return "done"

    launch()
    assert queues[0].enqueue(work).get_result() == "done"
    wait_until(lambda: ticks() >= 4, what="what follows the launch", timeout_seconds=60)
    statements.clear()
    began = time.monotonic()
    wait_until(lambda: ticks() >= 11, what="ten idle seconds", timeout_seconds=120)
    seconds = time.monotonic() - began

    # A busy machine makes the seconds more, and never the statements of one.
    assert len(statements) <= 2 * seconds, statements
