"""What a wrong command line, a wrong configuration and an absent database look like: a line and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pyengine import __version__
from pyengine.cli.exit_codes import ExitCode
from pyengine.cli.main import app
from pyengine.errors import DBOSProtocolNotServedError

NOWHERE = "postgresql://me:secret@localhost:1/nothing"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DBOS_SYSTEM_DATABASE_URL", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    "command",
    [
        ["workflow", "list"],
        ["workflow", "queue", "list"],
        ["workflow", "get", "one"],
        ["workflow", "steps", "one"],
        ["workflow", "cancel", "one"],
        ["workflow", "resume", "one"],
        ["doctor"],
        ["migrate"],
        ["migrate", "--check"],
        ["reset", "--yes"],
    ],
    ids=" ".join,
)
def test_no_database_is_one_clear_line(command: list[str]) -> None:
    result = run(*command, "--sys-db-url", NOWHERE)

    assert result.exit_code == ExitCode.FAILURE
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: no database reachable at postgresql://me:***@localhost:1/nothing")
    assert last.endswith("start Postgres there, or correct the URL")
    assert "secret" not in result.output
    assert "Traceback" not in result.output


def test_the_url_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBOS_SYSTEM_DATABASE_URL", NOWHERE)

    assert "me:***@localhost:1" in run("workflow", "list").stderr


@pytest.mark.parametrize("option", ["-s", "--sys-db-url", "--database-url", "--db-url", "-D"])
def test_the_url_option_of_every_era(option: str) -> None:
    assert "me:***@localhost:1" in run("workflow", "list", option, NOWHERE).stderr


@pytest.mark.parametrize(
    "command",
    [
        ["--nonsense"],
        ["workflow", "list", "--status", "DONE"],
        ["workflow", "list", "--start-time", "yesterday"],
        ["workflow", "list", "--limit", "0"],
        ["workflow", "get"],
        ["doctor", "--schema", "public"],
        ["migrate", "--print", "--check"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_exit_code_2(command: list[str]) -> None:
    assert run(*command).exit_code == ExitCode.USAGE


def test_reset_asks_and_does_nothing_where_nobody_answers() -> None:
    result = run("reset", "-s", NOWHERE)

    assert result.exit_code == ExitCode.FAILURE
    assert "--yes" in result.stderr


def test_a_broken_configuration_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "dbos-config.yaml").write_text("name: [\n")

    result = run("start")

    assert result.exit_code == ExitCode.FAILURE
    assert str(tmp_path / "dbos-config.yaml") in result.stderr


def test_start_without_a_configuration_says_how_to_get_one() -> None:
    result = run("start")

    assert result.exit_code == ExitCode.FAILURE
    assert "pyengine init --config" in result.stderr


def test_start_without_commands_says_where_they_belong(tmp_path: Path) -> None:
    (tmp_path / "dbos-config.yaml").write_text("name: shop\n")

    result = run("start")

    assert result.exit_code == ExitCode.FAILURE
    assert "runtimeConfig.start" in result.stderr


def test_an_engine_that_is_no_longer_served_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise DBOSProtocolNotServedError(1, 2)

    monkeypatch.setattr("pyengine.cli.database.resolve", refuse)

    assert run("doctor").exit_code == ExitCode.NOT_SERVED


def test_an_interrupted_command_says_so_by_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pyengine.cli.database.resolve", interrupt)

    assert run("doctor").exit_code == ExitCode.INTERRUPTED


def test_the_sql_can_be_printed_without_a_database() -> None:
    result = run("migrate", "--print", "--schema", "engine")

    assert result.exit_code == 0
    assert 'create schema "engine"' in result.stdout
    assert 'create table "engine".workflows' in result.stdout


def test_version_for_people_and_for_programs() -> None:
    assert run("version").stdout.startswith(f"pyengine {__version__} ")
    assert json.loads(run("version", "--json").stdout)["version"] == __version__
