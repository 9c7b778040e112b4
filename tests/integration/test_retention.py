"""What has finished is removed in time, by engines that run anyway."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import read, rows
from plugins.sessions import wait_until
from pyengine import DBOS, SetWorkflowID

Launch = Callable[..., type[DBOS]]
DAY = 24 * 3600.0


def left(session: psycopg.Connection[Any]) -> list[str]:
    return [each["workflow_id"] for each in read(session, "select workflow_id from pyengine.workflows order by 1")]


def test_after_thirty_days_unless_told_otherwise(
    launch: Launch, session: psycopg.Connection[Any], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    @DBOS.workflow()
    def greet() -> str:
        return "hello"

    with caplog.at_level(logging.INFO, "dbos"):
        launch()
    with SetWorkflowID("old"):
        greet()
    clock.advance(29 * DAY)
    with SetWorkflowID("new"):
        greet()
    clock.advance(2 * DAY)

    wait_until(lambda: left(session) == ["new"], what="the removal", timeout_seconds=60)
    assert "finished workflows are removed after 30 days (retention_days)" in caplog.text


def test_never_where_that_is_wanted(
    launch: Launch, session: psycopg.Connection[Any], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    @DBOS.workflow()
    def greet() -> str:
        return "hello"

    rows(session, "put_retention", application="other", keep_for=timedelta(days=1))
    with caplog.at_level(logging.INFO, "dbos"):
        launch(retention_days=0)
    with SetWorkflowID("old"):
        greet()
    clock.advance(1000 * DAY)

    def is_pruned() -> bool:
        (other,) = read(session, "select due_at > pyengine._now() as done from pyengine.retention where keep_for > '0'")
        return bool(other["done"])

    wait_until(is_pruned, what="a walk for the other application", timeout_seconds=60)
    assert left(session) == ["old"]
    assert "finished workflows are kept for ever" in caplog.text


def test_a_backlog_is_worked_off_at_once(launch: Launch, session: psycopg.Connection[Any], clock: Clock) -> None:
    session.execute(
        "insert into pyengine.workflows (workflow_id, name, application, start_token, created_at)"
        " select 'w' || n, 'flow', 'test-app', n, pyengine._now() from generate_series(1, 5000) as n"
    )
    session.execute(
        "insert into pyengine.outcomes (workflow_id, status, completed_at, priority, attempts, crashes)"
        " select 'w' || n, 'SUCCESS', pyengine._now(), 0, 1, 0 from generate_series(1, 5000) as n"
    )
    clock.advance(2 * DAY)
    launch(retention_days=1)

    wait_until(lambda: left(session) == [], what="the removal", timeout_seconds=60)
