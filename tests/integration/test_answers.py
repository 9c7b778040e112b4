"""How an answer is waited for on a connection of the engine: whole, large, late, wrong, or never."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from plugins.sessions import backend_pid, wait_until_blocked
from pyengine.db import greeting
from pyengine.db.connection import Connection
from pyengine.db.database import Database
from pyengine.db.function import SETTINGS, Function
from pyengine.db.wire import call

REPEAT: Function[str] = Function("repeat_text", "text text, times integer")
SETTING: Function[str] = Function("setting_of", "name text")
WAIT: Function[None] = Function("wait_for_lock", "key bigint")
FAIL: Function[None] = Function("fail_with", "message text")


@pytest.fixture
def functions(database_url: str) -> str:
    """Functions of the tests' own beside the engine's."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            """
            create function pyengine.repeat_text(p_text text, p_times integer) returns text language sql
              as 'select repeat(p_text, p_times)';
            create function pyengine.setting_of(p_name text) returns text language sql
              as 'select current_setting(p_name)';
            create function pyengine.wait_for_lock(p_key bigint) returns void language sql
              as 'select pg_advisory_xact_lock(p_key)';
            create function pyengine.fail_with(p_message text) returns void language plpgsql
              as 'begin raise exception using errcode = ''WF101'', message = p_message; end';
            """
        )
    return database_url


@pytest.fixture
def connection(functions: str) -> Iterator[Connection]:
    with greeting.connect(functions, "pyengine") as made:
        yield made


def ask(connection: Connection, function: Function[Any], *values: Any, eagerly: bool = False) -> Any:
    return call(connection, function, "pyengine", values, eagerly=eagerly)[0][0]


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("times", [1, 100, 10_000, 10_000_000])
def test_an_answer_of_any_size_comes_whole(connection: Connection, times: int, eagerly: bool) -> None:
    assert len(ask(connection, REPEAT, "ab", times, eagerly=eagerly)) == 2 * times


@pytest.mark.parametrize("length", [10, 100_000, 20_000_000])
def test_a_call_of_any_size_is_sent_whole(connection: Connection, length: int) -> None:
    assert ask(connection, REPEAT, "x" * length, 1) == "x" * length


@pytest.mark.parametrize("eagerly", [False, True])
def test_an_error_is_raised_and_the_connection_goes_on(connection: Connection, eagerly: bool) -> None:
    for _ in range(5):
        with pytest.raises(psycopg.Error, match="so it is"):
            ask(connection, FAIL, "so it is", eagerly=eagerly)
        assert ask(connection, REPEAT, "a", 3, eagerly=eagerly) == "aaa"


@pytest.mark.parametrize("eagerly", [False, True])
def test_who_is_terminated_learns_why(connection: Connection, session: psycopg.Connection[Any], eagerly: bool) -> None:
    session.execute("select pg_advisory_lock(7)")
    pid = connection.pgconn.backend_pid
    killer = threading.Thread(
        target=lambda: (wait_until_blocked(session, pid), session.execute("select pg_terminate_backend(%s)", (pid,)))
    )
    killer.start()
    with pytest.raises(psycopg.errors.AdminShutdown):
        ask(connection, WAIT, 7, eagerly=eagerly)
    killer.join()


def test_a_late_answer_is_waited_for(connection: Connection, session: psycopg.Connection[Any]) -> None:
    session.execute("select pg_advisory_lock(8)")
    pid = backend_pid(connection)
    opener = threading.Thread(
        target=lambda: (wait_until_blocked(session, pid), session.execute("select pg_advisory_unlock(8)"))
    )
    opener.start()
    ask(connection, WAIT, 8, eagerly=True)
    opener.join()


def test_ctrl_c_breaks_the_wait_off(connection: Connection, session: psycopg.Connection[Any]) -> None:
    session.execute("select pg_advisory_lock(9)")
    pid = backend_pid(connection)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupter = threading.Thread(
            target=lambda: (wait_until_blocked(session, pid), os.kill(os.getpid(), signal.SIGINT))
        )
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            ask(connection, WAIT, 9)
        interrupter.join()
    finally:
        signal.signal(signal.SIGINT, former)
    assert connection.closed


@pytest.mark.parametrize("is_pooled", [False, True])
def test_calls_go_under_the_settings_they_were_planned_for(functions: str, is_pooled: bool) -> None:
    """Whatever the role's or the database's own are; behind a pooler each call brings them itself."""
    with psycopg.connect(functions, autocommit=True) as connection:
        name = connection.info.dbname
        for setting in ("search_path = public, pg_catalog", "enable_seqscan = on"):
            connection.execute(f'alter database "{name}" set {setting}'.encode())
    database = Database(functions, "pyengine", pool_size=1, is_pooled=is_pooled)
    try:
        for _ in range(5):  # also once it is prepared
            for setting, expected in SETTINGS.items():
                assert database.one(SETTING, name=setting) == expected
    finally:
        database.close()
