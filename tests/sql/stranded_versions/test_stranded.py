from __future__ import annotations

from plugins.clock import Clock
from plugins.executors import Connection, Executor, rows
from plugins.queueing import enqueue


def stranded(connection: Connection, application: str | None = "app") -> dict[str | None, int]:
    found = rows(connection, "stranded_versions", application=application)
    return {each["app_version"]: each["unfinished"] for each in found}


def test_versions_that_nobody_runs(executor: Executor) -> None:
    for workflow_id, version in (("a", "v0"), ("b", "v0"), ("c", "v1"), ("d", None)):
        enqueue(executor.connection, workflow_id, app_version=version)
    enqueue(executor.connection, "elsewhere", application="other", app_version=None)

    assert stranded(executor.connection) == {"v0": 2}
    assert stranded(executor.connection, "other") == {None: 1}
    assert stranded(executor.connection, None) == {None: 1, "v0": 2}


def test_silence_counts_as_death(executor: Executor, clock: Clock) -> None:
    enqueue(executor.connection, "w")
    alive = stranded(executor.connection)
    clock.advance(16)

    assert (alive, stranded(executor.connection)) == ({}, {"v1": 1})
