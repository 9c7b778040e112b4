"""What is written twice must agree: calls and catalogue, error codes in SQL, in errors.toml and in the mapping."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pyengine.db import calls, sqlstate

ROOT = Path(__file__).resolve().parents[2]
SQL_FILES = sorted((ROOT / "sql" / "functions").glob("*/*.sql"))
# Functions of the schema that the engine does not call at run time: the installer does, or none but SQL.
NOT_CALLED = {"schema_version", "oldest_protocol"}

CATALOGUE = """
select
  p.proname::text as name,
  coalesce(
    array_agg(array[a.name, format_type(a.type, null)] order by a.place) filter (where a.mode in ('i', 'b', 'v')),
    '{}'
  ) as arguments,
  coalesce(array_agg(a.name order by a.place) filter (where a.mode in ('t', 'o')), '{}') as columns
from pg_catalog.pg_proc as p
left join lateral unnest(
  coalesce(p.proallargtypes, p.proargtypes::oid[]),
  coalesce(p.proargmodes, array_fill('i'::"char", array[cardinality(p.proargtypes::oid[])])),
  p.proargnames
) with ordinality as a (type, mode, name, place) on true
where p.pronamespace = 'pyengine'::regnamespace
group by p.oid, p.proname
"""
ALIASES = {"timestamptz": "timestamp with time zone", "timestamptz[]": "timestamp with time zone[]"}


@pytest.fixture
def catalogue(session: psycopg.Connection[Any]) -> dict[str, tuple[list[list[str]], list[str]]]:
    return {name: (arguments, columns) for name, arguments, columns in session.execute(CATALOGUE.encode())}


def test_every_call_has_its_function_with_these_arguments(catalogue: dict[str, Any]) -> None:
    expected = {
        call.name: [[f"p_{name}", ALIASES.get(kind, kind)] for name, kind in call.arguments] for call in calls.ALL
    }
    found = {name: catalogue[name][0] for name in expected if name in catalogue}

    assert sorted(set(expected) - set(catalogue)) == []
    assert found == expected


def test_every_call_reads_the_columns_its_function_returns(catalogue: dict[str, Any]) -> None:
    expected = {call.name: list(call.columns) for call in calls.ALL if call.name in catalogue}

    assert {name: catalogue[name][1] for name in expected} == expected


def test_every_function_for_the_engine_is_called(catalogue: dict[str, Any]) -> None:
    public = {name for name in catalogue if not name.startswith("_")}

    assert public - {call.name for call in calls.ALL} == NOT_CALLED


def codes(text: str) -> set[str]:
    return set(re.findall(r"WF\d{3}", text))


def test_the_listed_errors_are_the_ones_that_are_raised() -> None:
    listed = set(re.findall(r"^\[(WF\d{3})\]$", (ROOT / "sql" / "errors.toml").read_text(), re.MULTILINE))
    raised: set[str] = set()
    for source in SQL_FILES:
        raised |= set(re.findall(r"errcode = '(WF\d{3})'", source.read_text()))

    assert raised == listed


def test_every_listed_error_is_mapped_to_an_exception() -> None:
    listed = codes((ROOT / "sql" / "errors.toml").read_text())

    assert codes(Path(sqlstate.__file__).read_text()) == listed


def test_a_function_announces_the_errors_it_raises() -> None:
    silent = []
    for source in SQL_FILES:
        text = source.read_text()
        header = text.split("create or replace function", 1)[0]
        raised = set(re.findall(r"errcode = '(WF\d{3})'", text))
        silent += [f"{source.stem}: {code}" for code in sorted(raised - codes(header))]

    assert silent == []
