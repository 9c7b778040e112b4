"""Lint of what is really installed, and of the files it comes from."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pyengine.schema import sources

ROOT = Path(__file__).resolve().parents[2]

CATALOG_LINT = (Path(__file__).parent / "catalog_lint.sql").read_text(encoding="utf-8")


def test_every_installed_function_keeps_the_rules(database_url: str, linter: dict[str, Any]) -> None:
    unpinned = sorted(linter["UNPINNED"])
    with psycopg.connect(database_url) as connection:
        found = connection.execute(CATALOG_LINT.encode(), {"unpinned": unpinned}).fetchall()
    assert found == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bad(p_a integer) returns integer language sql as 'select 1'", "no pinned search_path"),
        ("bad(p_a integer) returns integer language sql as 'select 1'", "no comment"),
        ("bad(p_a integer) returns integer language sql as 'select 1'", "PUBLIC may execute"),
        ("bad(a integer) returns integer language sql as 'select 1'", "argument without p_"),
        ("bad(p_a integer) returns integer language sql security definer as 'select 1'", "security definer"),
        ("schema_version(p_a integer) returns integer language sql as 'select 1'", "overloaded"),
        ("bad(p_a integer default 1) returns integer language sql as 'select 1'", "default argument"),
        (
            "bad() returns setof pyengine.lanes language sql as 'select null, null, null, null'",
            "returns rows of a table",
        ),
    ],
)
def test_the_catalog_lint_finds(session: psycopg.Connection[Any], text: str, problem: str) -> None:
    session.execute("set check_function_bodies = off")
    session.execute(f"create function pyengine.{text}".encode())
    problems = session.execute(CATALOG_LINT.encode(), {"unpinned": []}).fetchall()
    assert problem in [row[1] for row in problems]


@pytest.fixture(scope="module")
def linter() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools/sql_lint.py"))


def test_the_sql_files_keep_the_rules(linter: dict[str, Any]) -> None:
    assert list(linter["lint"](ROOT)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("set search_path = pg_catalog, pg_temp\n", ""), "search_path"),
        (lambda text: text.replace("-- Locks:", "-- Lock:"), "Locks:"),
        (lambda text: re.sub(r"comment on function .*", "", text), "comment on function"),
        (lambda text: text.replace("schema_version()\nreturns", "other()\nreturns"), "named after its function"),
        (lambda text: text.replace("schema_version()\nreturns", "schema_version(a text)\nreturns"), "no p_ prefix"),
        (lambda text: text.replace("return (", "return (select * from x); return ("), "name the columns"),
        (lambda text: text.replace("return (", "perform now(); return ("), "another clock"),
        (lambda text: text + text, "one a file"),
    ],
)
def test_the_file_lint_finds(linter: dict[str, Any], change: Any, problem: str) -> None:
    text = (ROOT / "sql/functions/meta/schema_version.sql").read_text(encoding="utf-8")
    assert list(linter["lint_function"]("schema_version", text)) == []
    assert any(problem in found for found in linter["lint_function"]("schema_version", change(text)))


# What only executors reach in functions that clients call too: a client has no lease and no parent workflow.
EXECUTORS_BRANCHES = {"_hold_lease", "_record_child", "_judge_claim"}
SHIPPED = {function.name: re.sub(r"--.*", "", function.text) for function in sources.functions()}


def granted(block: str, following: str, kind: str) -> list[tuple[str, set[str]]]:
    """Rows of a list in grants.sql for that kind of role: (privilege or '', names)."""
    text = sources.load().grants
    part = text[text.index(block) : text.index(following)]
    rows = re.findall(r"\('([\w, ]+)', (?:'(\w+)', )?array\[(.*?)\]\)", part, re.DOTALL)
    return [(which, set(re.findall(r"'(\w+)'", names))) for kinds, which, names in rows if kind in kinds.split(", ")]


def granted_functions(kind: str) -> set[str]:
    return set().union(*(names for _, names in granted("functions (kind", "tables (kind", kind)))


@pytest.mark.parametrize("kind", ["client", "reader"])
def test_grants_name_only_functions_that_exist(kind: str) -> None:
    assert sorted(granted_functions(kind) - set(SHIPPED)) == []


@pytest.mark.parametrize("kind", ["client", "reader"])
def test_who_may_call_a_function_may_call_what_it_calls(kind: str) -> None:
    allowed = granted_functions(kind)
    lacking = {
        f"{name} calls {called}"
        for name in allowed & set(SHIPPED)
        for called in re.findall(r"pyengine\.(\w+)\s*\(", SHIPPED[name])
        if called in SHIPPED and called not in allowed | EXECUTORS_BRANCHES
    }
    assert lacking == set()


@pytest.mark.parametrize("kind", ["client", "reader"])
def test_who_may_call_a_function_may_write_the_tables_it_writes(kind: str) -> None:
    allowed = {
        (verb, table) for verb, tables in granted("tables (kind", "installer_only (name", kind) for table in tables
    }
    lacking = set()
    for name in granted_functions(kind) & set(SHIPPED):
        for verb, table in re.findall(r"\b(insert into|update|delete from) pyengine\.(\w+)", SHIPPED[name]):
            if (verb.split()[0], table) not in allowed:
                lacking.add(f"{name} needs {verb.split()[0]} on {table}")
    assert lacking == set()


def test_a_checkout_and_a_wheel_ship_the_same_kinds_of_files() -> None:
    where = sources.locations()
    assert where.errors.is_file()
    assert where.grants.is_file()
    assert sources.load().version == sources.migrations()[-1].version


def test_migrations_must_be_numbered_without_a_gap(tmp_path: Path) -> None:
    (tmp_path / "0000_a.sql").touch()
    (tmp_path / "0002_b.sql").touch()
    with pytest.raises(RuntimeError, match="without a gap"):
        sources.migrations(tmp_path)
    (tmp_path / "1_b.sql").touch()
    with pytest.raises(RuntimeError, match="NNNN_words"):
        sources.migrations(tmp_path)


def test_two_files_for_one_function_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.sql").touch()
    with pytest.raises(RuntimeError, match="same function: same"):
        sources.functions(tmp_path)
