"""Writes the tables of docs/reference/configuration.md; `python -m pyengine.config.reference` does it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyengine.config import environment, keys

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
_BEGIN = "<!-- begin {} -->"
_END = "<!-- end {} -->"


def updated(page: str) -> str:
    """Return the text of the page with its generated parts replaced."""
    parts = {
        "used keys": _key_table(key for key in keys.KEYS if key.used),
        "keys without effect": _key_table(key for key in keys.KEYS if not key.used),
        "environment variables": _variable_table(),
    }
    for name, table in parts.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        head, _, rest = page.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise ValueError(f"The page has no part between {begin} and {end}")
        page = f"{head}{begin}\n{table}\n{end}{tail}"
    return page


def _key_table(chosen: Iterable[keys.Key]) -> str:
    rows = [f"| `{key.path}` | {key.era} | {key.does} |" for key in chosen]
    return "\n".join(["| key | releases | what it does |", "|---|---|---|", *rows])


def _variable_table() -> str:
    rows = [
        f"| `{variable.name}` | {variable.era} | {'' if variable.setting else 'nothing: '}{variable.does} |"
        for variable in environment.VARIABLES
    ]
    return "\n".join(["| variable | releases | what it does |", "|---|---|---|", *rows])


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
