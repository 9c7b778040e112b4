"""The database itself: created when it is missing, dropped only when it was created for the engine."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from plugins.database import with_database
from plugins.logins import Roles, as_role
from pyengine import schema
from pyengine.errors import DBOSInitializationError


@pytest.fixture
def missing_url(server_url: str) -> Iterator[str]:
    """URL of a database that does not exist."""
    name = f"pyengine test {secrets.token_hex(4)}"
    yield with_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def reachable(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_missing_database_is_created_once(missing_url: str) -> None:
    assert schema.ensure_database(missing_url)
    assert not schema.ensure_database(missing_url)
    with psycopg.connect(missing_url) as connection:
        assert connection.execute("show server_encoding").fetchone() == ("UTF8",)


def test_of_many_that_find_it_missing_exactly_one_creates_it(
    missing_url: str, in_background: Callable[..., Future[bool]]
) -> None:
    attempts = [in_background(schema.ensure_database, missing_url) for _ in range(6)]

    assert sorted(attempt.result(timeout=60) for attempt in attempts) == [False] * 5 + [True]


def test_a_launch_creates_database_and_schema(missing_url: str) -> None:
    prepared = schema.prepare(missing_url)

    assert prepared.created_database
    assert prepared.verdict.state == "current"
    assert prepared.lines()[0] == "created the database"


def test_a_launch_that_may_not_migrate_creates_no_database(missing_url: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        schema.prepare(missing_url, run_migrations=False)
    assert not reachable(missing_url)


def test_a_role_that_may_not_create_databases_is_told_what_to_run(missing_url: str, roles: Roles) -> None:
    url = as_role(missing_url, *roles.login("modest"))
    with pytest.raises(DBOSInitializationError, match='may not create it; have it created: create database "pyengine'):
        schema.ensure_database(url)


def test_a_server_that_is_not_there_keeps_its_error() -> None:
    url = "postgresql://someone:secret@127.0.0.1:1/x"
    with pytest.raises(psycopg.OperationalError) as raised:
        schema.ensure_database(url)

    line = schema.explain(raised.value, url)
    assert line.startswith("no database reachable at postgresql://someone:")
    assert "secret" not in line
    assert "\n" not in line


def test_a_url_that_is_none_is_explained_without_its_password() -> None:
    url = "postgresql://someone:secret@host:notaport/x"
    with pytest.raises(psycopg.Error) as raised:
        schema.install(url)
    assert "secret" not in schema.explain(raised.value, url)


def test_a_reset_drops_the_database_that_was_created_for_the_engine(missing_url: str) -> None:
    schema.prepare(missing_url)
    with psycopg.connect(missing_url):
        lines = schema.reset(missing_url, yes=True)

    assert lines[0].startswith("dropped database")
    assert not reachable(missing_url)


def test_a_reset_keeps_a_database_in_which_somebody_else_keeps_tables(missing_url: str) -> None:
    schema.prepare(missing_url)
    with psycopg.connect(missing_url, autocommit=True) as connection:
        connection.execute("create table public.orders (id integer)")
    schema.reset(missing_url, yes=True)

    with psycopg.connect(missing_url) as connection:
        assert connection.execute("select to_regclass('public.orders')").fetchone() == ("orders",)
        assert connection.execute("select to_regnamespace('pyengine')").fetchone() == (None,)


def test_a_reset_keeps_a_foreign_database(database_url: str) -> None:
    assert schema.reset(database_url, yes=True)[0].startswith("dropped schema 'pyengine'")
    assert reachable(database_url)
    assert "not installed" in schema.reset(database_url, yes=True)[0]


def test_a_clone_of_a_database_of_ours_is_not_ours(
    missing_url: str, server_url: str, another_database: Callable[..., AbstractContextManager[str]]
) -> None:
    schema.prepare(missing_url)
    with another_database(empty=True) as clone:
        schema.install(clone)
        with psycopg.connect(clone, autocommit=True) as connection:
            # What a restored dump or a clone brings along.
            connection.execute("update pyengine.engine set created_database = true")
        assert schema.reset(clone, yes=True)[0].startswith("dropped schema")
        assert reachable(clone)


def test_a_reset_asks_to_be_meant(database_url: str) -> None:
    with pytest.raises(ValueError, match="yes=True"):
        schema.reset(database_url)
    assert schema.check(database_url).current


def test_a_reset_never_drops_a_schema_that_is_not_the_engines(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create schema shop")
        connection.execute("create table shop.workflow_status (id text)")
        with pytest.raises(DBOSInitializationError):
            schema.reset(empty_database_url, "shop", yes=True)
        assert connection.execute("select to_regclass('shop.workflow_status') is not null").fetchone() == (True,)


def test_the_schema_can_be_installed_again_after_a_reset(database_url: str) -> None:
    schema.reset(database_url, yes=True)
    report: Any = schema.install(database_url)
    assert report.created_schema
