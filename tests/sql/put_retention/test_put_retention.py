from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Executor, read, rows

DAY = timedelta(days=1)


def put(executor: Executor, keep_for: timedelta | None, application: str = "app") -> None:
    rows(executor.connection, "put_retention", application=application, keep_for=keep_for)


def stored(executor: Executor) -> list[tuple[str, timedelta | None]]:
    found = read(executor.connection, "select application, keep_for from pyengine.retention order by 1")
    return [(each["application"], each["keep_for"]) for each in found]


def test_the_last_one_holds(executor: Executor) -> None:
    put(executor, DAY)
    put(executor, 2 * DAY, "other")
    put(executor, None)

    assert stored(executor) == [("app", None), ("other", 2 * DAY)]


def test_a_repeat_writes_nothing(executor: Executor, clock: Clock) -> None:
    put(executor, DAY)
    before = read(executor.connection, "select xmin::text, declared_at from pyengine.retention")
    clock.advance(10)
    put(executor, DAY)

    assert read(executor.connection, "select xmin::text, declared_at from pyengine.retention") == before


def test_what_changes_is_due_at_once(executor: Executor, clock: Clock) -> None:
    put(executor, DAY)
    rows(executor.connection, "prune_workflows", limit=1)
    put(executor, 2 * DAY)
    clock.advance(1)

    assert ("prune_workflows", None) in executor.housekeep()


@pytest.mark.parametrize(("application", "keep_for"), [("app", timedelta(0)), ("app", -DAY), ("", DAY), (" ", None)])
def test_nonsense_is_refused(executor: Executor, application: str, keep_for: timedelta | None) -> None:
    with pytest.raises(psycopg.Error) as caught:
        put(executor, keep_for, application)
    assert caught.value.sqlstate == "WF101"
    assert stored(executor) == []
