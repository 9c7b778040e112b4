"""Login roles of a test's own, and shipped sources with something changed in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from plugins.logins import Roles
from pyengine.schema import sources


@pytest.fixture
def roles(empty_database_url: str) -> Iterator[Roles]:
    """Roles for a test in `empty_database_url`; everything they own goes with them."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        made = Roles(connection)
        yield made
        made.drop([empty_database_url])


@pytest.fixture
def shipped() -> sources.Sources:
    return sources.load()


FunctionEdit = Callable[..., sources.Sources]


@pytest.fixture
def with_function(shipped: sources.Sources) -> FunctionEdit:
    """`with_function(name, text, base=None)`: the sources with one function more, or with another text of it."""

    def edit(name: str, text: str, *, base: sources.Sources | None = None) -> sources.Sources:
        base = base or shipped
        others = [function for function in base.functions if function.name != name]
        functions = sorted([*others, sources.Function(name, text)], key=lambda function: function.name)
        return replace(base, functions=tuple(functions))

    return edit


@pytest.fixture
def function_text() -> Callable[..., str]:
    """`function_text(arguments, returns, body)`: the text of a function pyengine.sample."""

    def text(arguments: str = "p_a integer", returns: str = "integer", body: str = "return 1;") -> str:
        return (
            f"create or replace function pyengine.sample({arguments}) returns {returns} language plpgsql stable\n"
            f"security invoker set search_path = pg_catalog, pg_temp as $function$ begin {body} end; $function$;\n"
        )

    return text
