"""Time under the test's control: `_now()` of its database becomes the real clock plus a shift that a table holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

INSTALL = """
create schema test_clock;
create table test_clock.shift (by interval not null);
insert into test_clock.shift values (interval '0');
grant usage on schema test_clock to public;
grant select on test_clock.shift to public;
create or replace function pyengine._now() returns timestamptz
language sql volatile security invoker set search_path = pg_catalog, pg_temp
as $function$ select clock_timestamp() + (select s.by from test_clock.shift as s) $function$;
"""


class Clock:
    """The database's clock. It keeps running; `advance` makes it jump, at once and for every session."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute(INSTALL)

    def advance(self, seconds: float) -> None:
        """Skip time (negative: step back)."""
        self._connection.execute("update test_clock.shift set by = by + %s", (timedelta(seconds=seconds),))

    def now(self) -> datetime:
        row = self._connection.execute("select pyengine._now()").fetchone()
        assert row is not None
        found = row[0]
        assert isinstance(found, datetime)
        return found


@pytest.fixture
def clock(session_factory: Callable[..., psycopg.Connection[Any]]) -> Clock:
    return Clock(session_factory())
