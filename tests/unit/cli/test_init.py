"""`pyengine init`: what it writes, whom it asks, and what it never overwrites."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pyengine.cli import console, init
from pyengine.cli.main import app
from pyengine.config import resolve


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "My Project"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "is_interactive", lambda: True)


def run(*arguments: str, answers: str | None = None, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["init", *arguments], input=answers)
    assert result.exit_code == status, result.output
    return result.output


def test_the_configuration_is_the_one_the_tutorial_needs(folder: Path) -> None:
    run("--config")

    assert [file.name for file in folder.iterdir()] == ["dbos-config.yaml"]
    assert yaml.safe_load((folder / "dbos-config.yaml").read_text()) == {
        "name": "my-project",
        "language": "python",
        "runtimeConfig": {"start": ["fastapi run ./main.py"]},
    }


def test_the_engine_reads_the_configuration_without_a_word(folder: Path) -> None:
    run("--config")

    config = resolve(environ={}, announce=False)

    assert (config.name, config.start_commands, config.notes) == ("my-project", ("fastapi run ./main.py",), ())


def test_at_a_terminal_the_name_is_asked_for(folder: Path, at_a_terminal: None) -> None:
    output = run("--config", answers="Not Valid\nshop\n")

    assert "What is your project's name? [my-project]" in output
    assert "'Not Valid' is no project name" in output
    assert resolve(environ={}, announce=False).name == "shop"


def test_the_default_name_is_one_key_away(folder: Path, at_a_terminal: None) -> None:
    run("-c", answers="\n")

    assert resolve(environ={}, announce=False).name == "my-project"


@pytest.mark.parametrize("template", ["hello", "fastapi"])
def test_a_name_makes_a_folder_with_a_program(folder: Path, template: str) -> None:
    output = run("shop", "--template", template)

    made = folder / "shop"
    assert sorted(file.name for file in made.iterdir()) == [".gitignore", "README.md", "dbos-config.yaml", "main.py"]
    ast.parse((made / "main.py").read_text())
    assert yaml.safe_load((made / "dbos-config.yaml").read_text())["name"] == "shop"
    assert "# shop" in (made / "README.md").read_text()
    assert ".pyengine/" in (made / ".gitignore").read_text()
    assert "cd shop && pyengine start" in output


def test_without_a_name_the_program_is_written_here(folder: Path) -> None:
    run()

    assert (folder / "main.py").exists()
    assert resolve(environ={}, announce=False).name == "my-project"


def test_somebodys_file_is_not_overwritten_without_a_terminal(folder: Path) -> None:
    (folder / "main.py").write_text("print('mine')\n")

    output = run(status=1)

    assert "main.py" in output
    assert "--force" in output
    assert [file.name for file in folder.iterdir()] == ["main.py"]


def test_at_a_terminal_overwriting_is_asked_for(folder: Path, at_a_terminal: None) -> None:
    (folder / "dbos-config.yaml").write_text("name: old\n")

    run("--config", answers="shop\nn\n", status=1)
    assert (folder / "dbos-config.yaml").read_text() == "name: old\n"

    run("--config", answers="shop\ny\n")
    assert resolve(environ={}, announce=False).name == "shop"


def test_force_overwrites(folder: Path) -> None:
    (folder / "dbos-config.yaml").write_text("name: old\n")

    run("--config", "--force")

    assert resolve(environ={}, announce=False).name == "my-project"


def test_a_second_init_has_nothing_to_do(folder: Path) -> None:
    run("--config")

    assert "Nothing to do" in run("--config")


def test_a_bad_name_is_refused_with_one_that_would_do(folder: Path) -> None:
    assert "'my-shop' would be one" in run("My Shop!", status=1)
    assert list(folder.iterdir()) == []


def test_an_unknown_template_names_those_there_are(folder: Path) -> None:
    assert "hello, fastapi" in run("shop", "-t", "nextjs", status=1)


def test_json_says_what_was_written(folder: Path) -> None:
    assert json.loads(run("--config", "--json")) == {
        "name": "my-project",
        "folder": str(folder),
        "written": ["dbos-config.yaml"],
    }


def test_no_terminal_where_there_is_no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)

    assert not console.is_interactive()
