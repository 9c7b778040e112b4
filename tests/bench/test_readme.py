"""README's figures are those of the committed quick run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import readme


def test_readme_says_what_was_measured() -> None:
    assert readme.part(readme.README.read_text()) == readme.render(readme.committed()), "run: python -m bench readme"


def test_only_the_part_between_the_marks_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nold figures\n{readme.END}\nafter\n")
    monkeypatch.setattr(readme, "README", page)

    readme.write(readme.committed())
    first = page.read_text()
    readme.write(readme.committed())

    assert page.read_text() == first
    assert first.startswith("before\n")
    assert first.endswith("\nafter\n")
    assert "old figures" not in first
    assert "| dbos 3.4.0 |" in first


def test_what_was_not_measured_leaves_no_gap() -> None:
    """A peer that could not be installed, a cell that failed: the rest stands."""
    result = readme.committed()
    result["durable"] = {name: said for name, said in result["durable"].items() if not name.startswith("absurd")}
    result["figures"] = [
        {**figure, "ratios": {to: value for to, value in figure["ratios"].items() if not to.startswith("absurd")}}
        for figure in result["figures"]
        if figure["family"] not in ("latency", "concurrent")
    ]

    rendered = readme.render(result)

    assert "absurd" not in rendered
    assert "| dbos 3.4.0 |" in rendered
    assert "nan" not in rendered.lower().split()
