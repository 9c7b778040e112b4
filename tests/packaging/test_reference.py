"""The reference is current: generated pages are what the generator writes, and no public name is left out."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import pyengine
from pyengine.cli.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "write_reference.py"))


@pytest.mark.parametrize("page", ["sql-functions.md", "error-codes.md"])
def test_a_generated_page_is_current(generator: dict[str, Any], page: str) -> None:
    current = generator["pages"]()[REFERENCE / page]

    assert (REFERENCE / page).read_text(encoding="utf-8") == current, "run: python tools/write_reference.py"


def public(owner: type) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_") and not name.isupper()]


def test_the_python_api_names_everything_public() -> None:
    text = (REFERENCE / "python-api.md").read_text(encoding="utf-8")
    names = [*pyengine.__all__, *public(pyengine.DBOS), *inspect.signature(pyengine.Queue).parameters]

    assert [name for name in names if name != "executor" and not re.search(rf"\b{name}\b", text)] == []


def test_every_exit_code_is_documented() -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")

    assert [code for code in ExitCode if f"| {code.value} |" not in text] == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        if not target.exists() or (link["anchor"] and link["anchor"] not in anchors(target)):
            broken.append(link[0])

    assert broken == []
