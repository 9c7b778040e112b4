"""Who holds vacuum back is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from plugins.clock import Clock
from plugins.executors import Connection, read, rows
from plugins.sessions import backend_pid

NewSession = Callable[..., Connection]
MINUTES = 60.0


def findings(connection: Connection) -> list[str]:
    return [each["subject"] for each in rows(connection, "doctor") if each["invariant"] is None]


@pytest.mark.parametrize("holds", ["snapshot", "id"])
def test_a_transaction_that_is_open_for_long(
    session: Connection, session_factory: NewSession, clock: Clock, holds: str
) -> None:
    reader = session_factory(autocommit=False, application_name="report")
    if holds == "snapshot":
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select 1 from pyengine.workflows")
    else:
        reader.execute("select pg_current_xact_id()")
    clock.advance(29 * MINUTES)
    assert findings(session) == []
    clock.advance(2 * MINUTES)
    (found,) = rows(session, "doctor")

    assert found["subject"].startswith(f"backend {backend_pid(reader)} (")
    assert "report" in found["subject"]
    assert "open for 00:3" in found["problem"]
    assert f"pg_terminate_backend({backend_pid(reader)})" in found["remedy"]
    reader.rollback()
    assert findings(session) == []


def test_one_that_holds_nothing_is_no_matter(session: Connection, session_factory: NewSession, clock: Clock) -> None:
    """As a pool of the application's leaves them: idle in a transaction, without a snapshot."""
    idle = session_factory(autocommit=False)
    idle.execute("select 1")
    clock.advance(60 * MINUTES)

    assert findings(session) == []


def test_whoever_may_not_look_into_others_is_not_refused(
    session: Connection, session_factory: NewSession, clock: Clock
) -> None:
    reader = session_factory(autocommit=False)
    reader.execute("select pg_current_xact_id()")
    clock.advance(60 * MINUTES)
    session.execute("begin")
    session.execute("create role doctors_caller")
    try:
        session.execute("grant usage on schema pyengine, test_clock to doctors_caller")
        session.execute("grant select on all tables in schema pyengine to doctors_caller")
        session.execute("grant execute on all functions in schema pyengine to doctors_caller")
        session.execute("set local role doctors_caller")
        assert findings(session) == []
    finally:
        session.execute("rollback")


@pytest.fixture
def prepared(session: Connection, session_factory: NewSession) -> Iterator[str]:
    if read(session, "show max_prepared_transactions")[0]["max_prepared_transactions"] == "0":
        pytest.skip("this server allows no prepared transactions")
    name = f"doctor-{backend_pid(session)}"
    other = session_factory()
    other.execute("begin")
    other.execute("select pg_current_xact_id()")
    other.execute(f"prepare transaction '{name}'")
    yield name
    other.execute(f"rollback prepared '{name}'")


def test_a_prepared_transaction_that_nobody_decides(session: Connection, prepared: str, clock: Clock) -> None:
    clock.advance(31 * MINUTES)
    (found,) = rows(session, "doctor")

    assert found["subject"].startswith(f"prepared transaction {prepared}")
    assert f"rollback prepared '{prepared}'" in found["remedy"]
