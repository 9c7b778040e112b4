"""Every code block of the README and of docs/ runs. plugins/documents.py says how a page marks the few that cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.documents import Page, blocks, missing
from plugins.processes import Processes

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "compat/dbos/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("python", "py", "shell", "bash", "sh", "console")


def short(page: Path) -> str:
    return str(page.relative_to(ROOT))


def has_code(page: Path) -> bool:
    return any(block.language in RUN and block.verb != "skip" for block in blocks(page.read_text()))


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [page for page in PAGES if has_code(page)], ids=short)
def test_the_code_of_a_page_runs(page: Path, port_8000: int, processes: Processes) -> None:
    Page(short(page), processes.folder / "app", processes).run(page.read_text())


def test_a_page_is_taken_apart() -> None:
    page = '\n```python title="x"\na = 1\n```\n<!-- test: skip for a reason -->\n```shell\nrm -rf /\n```\n'

    first, second = blocks(page)

    assert (first.language, first.text, first.verb) == ("python", "a = 1\n", "")
    assert (second.language, second.verb, second.argument) == ("shell", "skip", "for a reason")


def test_a_comment_that_means_nothing_is_refused() -> None:
    with pytest.raises(AssertionError, match="one of"):
        list(blocks("<!-- test: skipp it -->\n```python\n```\n"))


@pytest.mark.parametrize(
    ("expected", "absent"),
    [("a\nc", None), ("b ... 3", None), ("c\na", "a"), ("d", "d")],
)
def test_output_is_compared_in_order(expected: str, absent: str | None) -> None:
    assert missing(["a", "b 1 2 3", "c"], expected) == absent


def test_a_page_runs_as_one_reader_would_run_it(processes: Processes) -> None:
    page = "\n".join(
        [
            "```python", "x = 1", "```",
            "<!-- test: continues -->", "```python", "print('x is', x)", "```",
            "<!-- test: output -->", "```", "x is 1", "```",
            "<!-- test: file data/one.txt -->", "```text", "hello", "```",
            "```console", "$ cat data/one.txt", "hello", "```",
        ]
    )  # fmt: skip

    Page("page", processes.folder / "app", processes).run(page)


def test_a_block_that_fails_fails_the_page(processes: Processes) -> None:
    with pytest.raises(AssertionError, match=r"(?s)page:1: exit status 1.*boom"):
        Page("page", processes.folder / "app", processes).run("```python\nraise SystemExit('boom')\n```\n")
