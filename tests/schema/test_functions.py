"""Functions are replaced when their file changed, and leave no old signature behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pyengine import schema
from pyengine.schema.sources import Sources

FunctionEdit = Callable[..., Sources]
FunctionText = Callable[..., str]


def signatures(url: str, name: str = "sample") -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select pg_get_function_identity_arguments(p.oid) || ' -> ' || pg_get_function_result(p.oid)"
            "  from pg_proc as p where p.proname = %s and p.pronamespace = 'pyengine'::regnamespace order by 1",
            (name,),
        )
        return [row[0] for row in rows]


def call(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def test_only_the_changed_function_is_replaced(
    empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(empty_database_url, sources=with_function("sample", function_text()))
    report = schema.install(empty_database_url, sources=with_function("sample", function_text(body="return 2;")))

    assert (report.functions_created, report.functions_replaced, report.functions_dropped) == ([], ["sample"], [])
    assert call(empty_database_url, "select pyengine.sample(1)") == 2


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"arguments": "p_a integer, p_b text"}, "p_a integer, p_b text -> integer"),
        ({"arguments": "p_a bigint"}, "p_a bigint -> integer"),
        ({"arguments": "p_renamed integer"}, "p_renamed integer -> integer"),
        ({"returns": "bigint"}, "p_a integer -> bigint"),
        ({"returns": "table (a integer, b text)", "body": "return;"}, "p_a integer -> TABLE(a integer, b text)"),
        ({"arguments": "p_a bigint[]", "returns": "text"}, "p_a bigint[] -> text"),
    ],
)
def test_a_changed_signature_replaces_the_old_one(
    empty_database_url: str,
    with_function: FunctionEdit,
    function_text: FunctionText,
    changed: dict[str, str],
    expected: str,
) -> None:
    schema.install(empty_database_url, sources=with_function("sample", function_text()))
    changed_sources = with_function("sample", function_text(**changed))
    report = schema.install(empty_database_url, sources=changed_sources)

    assert report.functions_replaced == ["sample"]
    assert signatures(empty_database_url) == [expected]
    assert not schema.install(empty_database_url, sources=changed_sources).changed


def test_a_function_that_is_no_longer_shipped_is_dropped(
    empty_database_url: str, shipped: Sources, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(empty_database_url, sources=with_function("sample", function_text()))
    report = schema.install(empty_database_url, sources=shipped)

    assert report.functions_dropped == ["sample"]
    assert signatures(empty_database_url) == []


def test_a_function_of_the_users_own_is_left_alone(
    empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText, shipped: Sources
) -> None:
    schema.install(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create function pyengine.mine() returns integer language sql as 'select 1'")
    schema.install(empty_database_url, sources=with_function("sample", function_text()))
    schema.install(empty_database_url, sources=shipped)

    assert signatures(empty_database_url, "mine") == [" -> integer"]


def test_a_function_that_is_gone_comes_back_with_the_next_upgrade(
    empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("drop function pyengine.schema_version()")
    report = schema.install(empty_database_url, sources=with_function("sample", function_text()))

    assert sorted(report.functions_created) == ["sample", "schema_version"]


def test_a_replaced_clock_stays_replaced(empty_database_url: str) -> None:
    schema.install(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            "create or replace function pyengine.schema_version() returns integer language sql as 'select -1'"
        )
    schema.install(empty_database_url)

    assert call(empty_database_url, "select pyengine.schema_version()") == -1


def test_views_are_made_again_when_a_function_they_use_changes_its_type(
    empty_database_url: str, shipped: Sources, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    views = "create or replace view pyengine.samples as select pyengine.sample(1) as a;\n"
    first = replace(with_function("sample", function_text()), views=views)
    second = replace(with_function("sample", function_text(returns="text", body="return 'x';")), views=views)
    schema.install(empty_database_url, sources=first)
    report = schema.install(empty_database_url, sources=second)

    assert report.views
    assert call(empty_database_url, "select a from pyengine.samples") == "x"


def test_a_view_may_lose_a_column(empty_database_url: str, shipped: Sources) -> None:
    def views(columns: str) -> Sources:
        return replace(shipped, views=f"create or replace view pyengine.samples as select {columns};\n")

    schema.install(empty_database_url, sources=views("1 as a, 2 as b"))
    report = schema.install(empty_database_url, sources=views("2 as b"))

    assert report.views
    assert call(empty_database_url, "select b from pyengine.samples") == 2


def test_a_users_view_on_a_function_that_must_be_dropped_is_an_error_that_changes_nothing(
    empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(empty_database_url, sources=with_function("sample", function_text()))
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create view public.mine as select pyengine.sample(1) as a")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as raised:
        schema.install(empty_database_url, sources=with_function("sample", function_text(returns="text")))

    assert "something of yours depends on" in schema.explain(raised.value, empty_database_url)
    assert signatures(empty_database_url) == ["p_a integer -> integer"]
