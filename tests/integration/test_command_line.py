"""The commands on a real database, with workflows that a real engine ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pyengine import DBOS, Queue, SetWorkflowID
from pyengine.cli.exit_codes import ExitCode
from pyengine.cli.main import app
from pyengine.errors import DBOSAwaitedWorkflowCancelledError

Command = Callable[..., Result]


@pytest.fixture
def command(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DBOS_SYSTEM_DATABASE_URL", database_url)

    def run(*arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture
def as_json(command: Command) -> Callable[..., Any]:
    return lambda *arguments, status=0: json.loads(command(*arguments, "--json", status=status).stdout)


@pytest.fixture
def engine(database_url: str) -> Iterator[None]:
    DBOS(config={"name": "shop", "system_database_url": database_url, "application_version": "v1"})

    @DBOS.step()
    def bake(what: str) -> tuple[str, int]:
        return what, 1

    @DBOS.step()
    def burn() -> None:
        raise ValueError("burnt")

    @DBOS.workflow(name="order")
    def order(what: str) -> dict[str, str]:
        bake(what)
        DBOS.sleep(0.01)
        return {"got": what}

    @DBOS.workflow(name="mishap")
    def mishap() -> None:
        burn()

    @DBOS.workflow(name="nap")
    def nap() -> str:
        DBOS.sleep(0.2)
        return "rested"

    DBOS.launch()
    with SetWorkflowID("one"):
        order("cake")
    with SetWorkflowID("two"), pytest.raises(ValueError, match="burnt"):
        mishap()
    with SetWorkflowID("three"):
        Queue("beds").enqueue(nap).get_result()
    yield
    DBOS.destroy(destroy_registry=True)


@pytest.mark.usefixtures("engine")
def test_list_shows_all_and_filters(command: Command, as_json: Callable[..., Any]) -> None:
    def ids(*options: str) -> list[str]:
        return [row["workflow_id"] for row in as_json("workflow", "list", *options)]

    assert ids() == ["one", "two", "three"]
    assert ids("-d") == ["three", "two", "one"]
    assert ids("-l", "1", "-o", "1") == ["two"]
    assert ids("-S", "error") == ["two"]
    assert ids("-n", "order") == ["one"]
    assert ids("-q", "beds") == ["three"]
    assert ids("-v", "v1", "-a", "shop") == ["one", "two", "three"]
    assert ids("-v", "v2") == ids("-a", "other") == ids("-u", "ann") == ids("--queues-only") == []
    assert ids("-t", "2020-01-01T00:00:00Z", "-e", "2100-01-01") == ["one", "two", "three"]
    assert ids("-e", "2020-01-01") == []
    table = command("workflow", "list").stdout
    assert all(word in table for word in ("one", "SUCCESS", "mishap", "beds"))


@pytest.mark.usefixtures("engine")
def test_get_shows_what_went_in_and_came_out(command: Command, as_json: Callable[..., Any]) -> None:
    found = as_json("workflow", "get", "one")
    failed = as_json("workflow", "get", "two")

    assert (found["name"], found["status"], found["output"], found["error"]) == (
        "order",
        "SUCCESS",
        {"got": "cake"},
        None,
    )
    assert found["input"] == {"args": ["cake"], "kwargs": {}}
    assert (failed["status"], failed["error"]) == ("ERROR", "ValueError: burnt")
    assert "{'got': 'cake'}" in command("workflow", "get", "one").stdout


@pytest.mark.usefixtures("engine")
def test_steps_are_listed_in_order(command: Command, as_json: Callable[..., Any]) -> None:
    steps = as_json("workflow", "steps", "one")

    assert [step["function_id"] for step in steps] == sorted(step["function_id"] for step in steps)
    assert steps[0]["output"] == ["cake", 1]  # a tuple, which JSON shows as a list
    assert "sleep" in steps[1]["function_name"]
    assert as_json("workflow", "steps", "two")[0]["error"] == "ValueError: burnt"
    assert "bake" in command("workflow", "steps", "one").stdout


@pytest.mark.usefixtures("engine")
def test_cancel_and_resume(command: Command, as_json: Callable[..., Any]) -> None:
    @DBOS.workflow(name="long")
    def long() -> str:
        DBOS.sleep(0.4)
        return "done"

    with SetWorkflowID("long"):
        handle = DBOS.start_workflow(long)

    assert "cancelled" in command("workflow", "cancel", "long").stdout
    with pytest.raises(DBOSAwaitedWorkflowCancelledError):
        handle.get_result()
    assert as_json("workflow", "cancel", "one") == [{"workflow_id": "one", "result": "finished"}]
    assert as_json("workflow", "resume", "long") == [{"workflow_id": "long", "result": "resumed"}]
    assert DBOS.retrieve_workflow("long").get_result() == "done"
    assert as_json("workflow", "resume", "long") == [{"workflow_id": "long", "result": "finished"}]


def test_an_unknown_id_is_a_failure_after_the_known_ones(command: Command) -> None:
    for words in (["get", "x"], ["steps", "x"], ["cancel", "x"], ["resume", "x"]):
        assert "no workflow has the id x" in command("workflow", *words, status=ExitCode.FAILURE).stderr


def test_a_healthy_database_says_so(command: Command, as_json: Callable[..., Any]) -> None:
    assert command("doctor").stdout.startswith("healthy")
    assert as_json("doctor") == []


def test_migrate_from_nothing(
    empty_database_url: str, command: Command, as_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBOS_SYSTEM_DATABASE_URL", empty_database_url)

    assert "pyengine migrate" in command("workflow", "list", status=ExitCode.FAILURE).stderr
    assert as_json("migrate", "--check", status=ExitCode.PENDING)["state"] == "absent"
    assert as_json("migrate")["changed"] is True
    assert as_json("migrate")["changed"] is False
    assert as_json("migrate", "--check")["state"] == "current"
    assert command("workflow", "list").exit_code == 0
    command("reset", "--yes")
    command("migrate", "--check", status=ExitCode.PENDING)


def test_migrate_runs_the_commands_of_the_configuration_after_the_schema(command: Command, tmp_path: Path) -> None:
    (tmp_path / "dbos-config.yaml").write_text(
        "name: shop\ndatabase:\n  migrate:\n    - touch migrated\n    - exit 4\n    - touch never\n"
    )

    result = command("migrate", status=ExitCode.FAILURE)

    assert "'exit 4' failed (exit code 4)" in result.stderr
    assert (tmp_path / "migrated").exists()
    assert not (tmp_path / "never").exists()


def test_another_schema(empty_database_url: str, command: Command, as_json: Callable[..., Any]) -> None:
    assert as_json("migrate", "-s", empty_database_url, "--schema", "engine")["schema"] == "engine"
    assert command("workflow", "list", "-s", empty_database_url, "--schema", "engine").exit_code == 0
    command("workflow", "list", "-s", empty_database_url, status=ExitCode.FAILURE)
