"""An engine that has nothing to do leaves the database alone."""

from __future__ import annotations

import time
from collections.abc import Callable

from plugins.sessions import wait_until
from pyengine import DBOS, Queue


def test_an_idle_executor_makes_two_statements_a_second_at_most(
    launch: Callable[..., type[DBOS]], statements: list[str]
) -> None:
    def ticks() -> int:
        return statements.count("tick")

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
