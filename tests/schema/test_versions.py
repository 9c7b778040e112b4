"""Engines and schemas of different age: who is served, who must migrate, and who only looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from pyengine import schema
from pyengine._version import PROTOCOL
from pyengine.errors import DBOSInitializationError
from pyengine.schema.sources import Migration, Sources
from pyengine.schema.versions import release_key

FunctionEdit = Callable[..., Sources]
FunctionText = Callable[..., str]


def newer(shipped: Sources, **changes: object) -> Sources:
    later = Migration(shipped.version + 1, "later", "create table pyengine.later (a integer);")
    return replace(shipped, migrations=(*shipped.migrations, later), **changes)  # type: ignore[arg-type]


def test_a_newer_schema_that_serves_the_protocol_is_left_alone_and_used(
    empty_database_url: str, shipped: Sources
) -> None:
    schema.install(empty_database_url, sources=newer(shipped), release="9.0")

    verdict = schema.judge(empty_database_url)
    assert (verdict.state, verdict.served, verdict.schema_version) == ("newer", True, shipped.version + 1)
    report = schema.install(empty_database_url)
    assert not report.changed
    assert "newer than this engine" in report.lines()[-1]
    assert schema.check(empty_database_url).current
    assert schema.prepare(empty_database_url).lines() == [verdict.message]


def test_a_schema_that_no_longer_serves_the_protocol_says_so(empty_database_url: str, shipped: Sources) -> None:
    schema.install(empty_database_url, sources=newer(shipped, oldest_protocol=PROTOCOL + 1), release="9.0")

    prepared = schema.prepare(empty_database_url)
    assert (prepared.verdict.state, prepared.verdict.served) == ("unserved", False)
    assert f"this engine speaks {PROTOCOL}" in prepared.lines()[0]
    assert "install a newer pyengine" in prepared.lines()[0]


def test_an_older_engine_does_not_put_its_functions_back(
    empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(empty_database_url, sources=with_function("sample", function_text(body="return 2;")), release="2.0")
    report = schema.install(empty_database_url, sources=with_function("sample", function_text()), release="1.9.3")

    assert not report.changed
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select pyengine.sample(0)").fetchone() == (2,)


def test_the_oldest_protocol_never_goes_back(empty_database_url: str, shipped: Sources) -> None:
    schema.install(empty_database_url, sources=replace(shipped, oldest_protocol=3))
    schema.install(empty_database_url, sources=replace(shipped, oldest_protocol=2))

    assert schema.judge(empty_database_url, protocol=3).oldest_protocol == 3


@pytest.mark.parametrize("state", ["absent", "older"])
def test_without_migrations_a_launch_only_checks_and_names_the_command(
    empty_database_url: str, shipped: Sources, state: str
) -> None:
    if state == "older":
        older = replace(shipped, migrations=shipped.migrations[:1], functions=(), views="", grants="")
        schema.install(empty_database_url, sources=older)
    with pytest.raises(DBOSInitializationError, match="run `pyengine migrate`"):
        schema.prepare(empty_database_url, run_migrations=False)

    report = schema.check(empty_database_url)
    assert report.verdict.state == state
    assert any(shipped.migrations[-1].label in line for line in report.pending)
    with pytest.raises(DBOSInitializationError, match="run `pyengine migrate`"):
        report.raise_if_pending()


def test_changed_functions_of_the_same_release_are_pending(
    empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(empty_database_url)
    report = schema.check(empty_database_url, sources=with_function("sample", function_text()))

    assert report.verdict.state == "older"
    assert report.pending == ("1 function(s) to be created: sample",)


def test_releases_are_ordered() -> None:
    names = ["0.9.dev1", "0.9a1", "0.9b1", "0.9rc1", "0.9rc2", "0.9", "0.9.1", "0.10", "1.0", "10.0"]
    assert sorted(names, key=release_key) == names
    assert release_key("1.0") == release_key("1.0.0")
