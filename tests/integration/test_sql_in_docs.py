"""SQL that the pages tell readers to run: it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plugins.documents import blocks

ROOT = Path(__file__).resolve().parents[2]


def statements() -> Iterator[tuple[str, str]]:
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in blocks(page.read_text()):
            if block.language == "sql":
                yield f"{page.relative_to(ROOT)}:{block.line}", block.text


ALL = list(statements())


@pytest.mark.parametrize(("place", "statement"), ALL, ids=[place for place, _ in ALL])
def test_it_runs(session: psycopg.Connection[Any], place: str, statement: str) -> None:
    session.execute(statement.encode())


def test_there_is_some() -> None:
    assert len(ALL) > 5
