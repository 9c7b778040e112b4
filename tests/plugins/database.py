"""A database of its own for every test: cloned from a template that was built once, dropped afterwards."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

SCHEMA = "pyengine"
# What PL/pgSQL would let pass silently is an error in tests.
STRICT = "too_many_rows,strict_multi_assignment,shadowed_variables"


def with_database(url: str, database: str) -> str:
    """The same server, another database, as a URL (what users write, and what the command line takes)."""
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    parts.pop("dbname", None)
    user, password, host, port = (quote(parts.pop(key, ""), safe="") for key in ("user", "password", "host", "port"))
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    where = f"{host}:{port}" if port else host
    rest = f"?{urlencode(parts, quote_via=quote)}" if parts else ""
    return f"postgresql://{who}{where}/{quote(database, safe='')}{rest}"


def install_schema(url: str, schema: str = SCHEMA) -> None:
    from pyengine.schema import install

    install(url, schema)


class Databases:
    """Makes and drops databases of one test run; names carry the run, so that runs never meet."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._prefix = f"pyengine_test_{secrets.token_hex(4)}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
        self._numbers = itertools.count(1)
        self._template: str | None = None

    def execute(self, statement: str, **names: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))

    def _fresh(self, template: str) -> str:
        name = f"{self._prefix}_{next(self._numbers)}"
        self.execute("create database {name} template {template}", name=name, template=template)
        self.execute(f"alter database {{name}} set plpgsql.extra_errors = '{STRICT}'", name=name)
        return name

    def _drop(self, name: str) -> None:
        self.execute("drop database if exists {name} with (force)", name=name)

    def template(self) -> str:
        if self._template is None:
            name = f"{self._prefix}_template"
            self.execute("create database {name} template template0", name=name)
            install_schema(with_database(self._server_url, name))
            self._template = name
        return self._template

    def drop_template(self) -> None:
        if self._template is not None:
            self._drop(self._template)

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        name = self._fresh("template0" if empty else self.template())
        try:
            yield with_database(self._server_url, name)
        finally:
            self._drop(name)


@pytest.fixture(scope="session")
def databases(server_url: str) -> Iterator[Databases]:
    made = Databases(server_url)
    yield made
    made.drop_template()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """URL of a database with the schema installed."""
    with databases.database() as url:
        yield url


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """URL of a database with nothing in it."""
    with databases.database(empty=True) as url:
        yield url


@pytest.fixture
def another_database(databases: Databases) -> Callable[[], AbstractContextManager[str]]:
    """For tests that need more than one database: `with another_database() as url`."""
    return databases.database


@pytest.fixture
def healthy(database_url: str) -> Iterator[None]:
    """Asserts at the end of the test that doctor finds no broken invariant. Ask for it first: then it looks last."""
    yield
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "select d.invariant, d.subject, d.problem, d.remedy from pyengine.doctor() as d"
        ).fetchall()
    assert found == [], f"doctor found broken invariants: {found}"
