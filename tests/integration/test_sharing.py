"""Hosts share a backlog: each claims what it can run now, so one that comes later finds work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.processes import Processes
from plugins.sessions import wait_until

Sessions = Callable[..., psycopg.Connection[Any]]

HOST = """
    import asyncio, sys, time
    from pathlib import Path
    from pyengine import DBOS, Queue

    url, label, what = sys.argv[1:]
    gate = Path("gate")
    threads = {"max_executor_threads": 8} if what == "threads" else {}
    DBOS(config={
        "name": "shared", "system_database_url": url, "application_version": "v", "executor_id": label, **threads
    })
    queue = Queue("work")

    @DBOS.workflow()
    def threads() -> None:
        while not gate.exists():
            time.sleep(0.05)
        time.sleep(0.05)

    @DBOS.workflow()
    async def tasks() -> None:
        while not gate.exists():
            await asyncio.sleep(0.5)

    DBOS.launch()
    if label == "first":
        queue.enqueue_many(globals()[what], [() for _ in range(300)])
        print("enqueued", flush=True)
    time.sleep(1000)
"""


def held(session: psycopg.Connection[Any]) -> dict[str, int]:
    """How many workflows each host has claimed and not finished, by its label; '' for those that nobody has."""
    found = session.execute(
        "select coalesce(e.label, ''), count(*) from pyengine.in_flight as f"
        " left join pyengine.executors as e on e.executor_id = f.executor_id group by 1"
    )
    return {label: count for label, count in found.fetchall()}


@pytest.mark.parametrize(("what", "cap"), [("threads", 8), ("tasks", 256)])
def test_a_host_leaves_to_others_what_it_cannot_run_now(
    database_url: str, processes: Processes, session_factory: Sessions, what: str, cap: int
) -> None:
    first = processes.start(HOST, database_url, "first", what)
    first.wait_for_line("enqueued", timeout_seconds=60)
    session = session_factory()
    wait_until(lambda: held(session).get("first") == cap, what="a first host that is full", timeout_seconds=60)
    # Nothing ends: what the second one gets is what the first has left.
    processes.start(HOST, database_url, "second", what)
    share = min(cap, 300 - cap)
    wait_until(lambda: held(session).get("second") == share, what="a second host with its share", timeout_seconds=60)
    left = {"": 300 - cap - share} if cap + share < 300 else {}
    assert held(session) == {"first": cap, "second": share, **left}

    (processes.folder / "gate").touch()
    seen: list[dict[str, int]] = []

    def is_done() -> bool:
        seen.append(held(session))
        return not seen[-1]

    wait_until(is_done, what="the end of all", timeout_seconds=120)
    assert max(max(each.get("first", 0), each.get("second", 0)) for each in seen) <= cap
    shares = session.execute(
        "select e.label, count(*) from pyengine.outcomes as o"
        " join pyengine.executors as e on e.executor_id = o.executor_id group by 1"
    ).fetchall()
    assert sum(count for _, count in shares) == 300
    assert all(count >= share for _, count in shares), shares
