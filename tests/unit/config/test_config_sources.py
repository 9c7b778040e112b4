"""The file, the environment and the folder: where each is found and what it may hold."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyengine import config as configuration
from pyengine.config import Config, file, names
from pyengine.errors import DBOSInitializationError

Resolve = Callable[..., Config]

TUTORIAL = """# yaml-language-server: $schema=https://example.org/schema.json
name: dbos-starter
language: python
runtimeConfig:
  start:
    - "fastapi run ./main.py"
database:
  migrate:
    - echo 'No migrations specified'
telemetry:
  logs:
    logLevel: INFO
"""


def test_the_file_of_the_tutorial_has_nothing_to_comment_on(resolved: Resolve, home: Path) -> None:
    config = resolved(file=TUTORIAL)

    assert (config.name, config.start_commands) == ("dbos-starter", ("fastapi run ./main.py",))
    assert (config.config_file, config.database_url) == (home / "dbos-config.yaml", None)
    assert (config.notes, config.log_level) == ((), logging.INFO)


def test_its_dictionary_is_accepted_as_the_argument(resolved: Resolve) -> None:
    config = resolved({"name": "shop", "language": "python", "runtimeConfig": {"start": ["a"], "setup": ["b"]},
                       "database": {"hostname": "h"}, "telemetry": {"logs": {"logLevel": "ERROR"}}})  # fmt: skip

    assert (config.start_commands, config.log_level) == (("a",), logging.ERROR)
    assert config.database_source == "argument database.hostname"


def test_the_flat_form_wins_over_the_nested(resolved: Resolve) -> None:
    config = resolved({"telemetry": {"logs": {"logLevel": "ERROR"}}, "log_level": "DEBUG"})

    assert config.log_level == logging.DEBUG


@pytest.mark.parametrize("reverse", [False, True])
def test_the_more_specific_of_two_application_urls_wins(resolved: Resolve, reverse: bool) -> None:
    written = [("database_url", "postgresql://h/a"), ("application_database_url", "postgresql://h/b")]

    assert resolved(dict(reversed(written) if reverse else written)).database_url == "postgresql://h/b"


def test_each_key_is_looked_for_by_itself(resolved: Resolve) -> None:
    config = resolved(
        {"log_level": "DEBUG"},
        environ={"DBOS__APPVERSION": "v7", "DBOS__VMID": "vm-1", "DBOS__APPID": "id-1", "DBOS_APP_NAME": "from-env"},
        file="name: from-file\nlog_level: ERROR\nexecutor_id: from-file\ndbos_system_schema: mine\n",
    )

    assert (config.name, config.log_level, config.schema) == ("from-env", logging.DEBUG, "mine")
    assert (config.application_version, config.executor_label, config.application_id) == ("v7", "vm-1", "id-1")


def test_variables_set_to_nothing_are_not_set(resolved: Resolve) -> None:
    config = resolved(environ={"DBOS__APPVERSION": "", "DBOS__VMID": "", "DBOS_DBPORT": "", "DBOS_APP_NAME": ""})

    assert (config.application_version, config.executor_label, config.notes) == (None, "local", ())


@pytest.mark.parametrize("name", ["DBOS__CLOUD", "DBOS__CONDUCTOR_KEY", "DBOS__OTLP_LOGS_ENDPOINT",
                                  "DBOS_DEBUG_WORKFLOW_ID"])  # fmt: skip
def test_variables_without_effect_are_explained_without_their_value(resolved: Resolve, name: str) -> None:
    (note,) = resolved(environ={name: "secret"}).notes

    assert note.text.startswith(f"Environment variable {name} does nothing here: ")
    assert "secret" not in note.text


@pytest.mark.parametrize(("name", "value"), [("DBOS_DBPORT", "many"), ("DBOS_DBLOCALSUFFIX", "perhaps"),
                                             ("DBOS_APP_NAME", "My App")])  # fmt: skip
def test_a_bad_variable_is_an_error_with_its_name(resolved: Resolve, name: str, value: str) -> None:
    with pytest.raises(DBOSInitializationError, match=f"environment variable {name}: '{value}'"):
        resolved(environ={name: value})


# Finding and reading the file


def test_the_file_is_found_upwards(home: Path) -> None:
    below = home / "a" / "b"
    below.mkdir(parents=True)
    (home / "dbos-config.yaml").write_text("name: above\n", encoding="utf-8")

    assert file.find(below) == home / "dbos-config.yaml"
    assert configuration.resolve(environ={}, cwd=below, announce=False).name == "above"


def test_without_a_name_the_folder_of_the_file_gives_it(home: Path) -> None:
    below = home / "src"
    below.mkdir()
    (home / "dbos-config.yaml").write_text("language: python\n", encoding="utf-8")

    assert configuration.resolve(environ={}, cwd=below, announce=False).name == "greetings"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a\n- b\n", "must be a mapping"),
        ("just text", "must be a mapping"),
        ("name: [secret", "line"),
        ("name: a\n\tb: secret", "line"),
        ("!!python/object:os.system {}", "not valid YAML"),
        ("name: my-app\nnmae: x", "nearest known key is 'name'"),
        ("runtimeConfig: start", "runtimeConfig"),
        ("language: typescript", "typescript"),
        ("language: cobol", "language"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_with_its_path(
    resolved: Resolve, home: Path, content: str, said: str
) -> None:
    with pytest.raises(DBOSInitializationError, match=r"dbos-config\.yaml") as raised:
        resolved(file=content)

    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_in_another_encoding_is_an_error_with_its_path(resolved: Resolve, home: Path) -> None:
    (home / "dbos-config.yaml").write_bytes(b"name: caf\xe9\n")

    with pytest.raises(DBOSInitializationError, match=r"dbos-config\.yaml cannot be read"):
        resolved()


def test_an_empty_file_configures_nothing(resolved: Resolve) -> None:
    assert resolved(file="").name == "greetings"


def test_the_file_of_another_language_does_not_hinder_a_program_with_its_own_argument(resolved: Resolve) -> None:
    config = resolved({"name": "shop"}, file="name: web\nlanguage: typescript\nhttp: {}\n")

    assert (config.name, config.config_file) == ("shop", None)
    assert "it is not read" in config.notes[0].text


# References to the environment


def test_references_are_replaced_in_values_and_not_in_comments(resolved: Resolve) -> None:
    config = resolved(
        file="# ${NOT_SET}\nname: ${APP}-${STAGE}\nruntimeConfig: {start: [run ${STAGE}]}\nsys_db_pool_size: ${SIZE}\n",
        environ={"APP": "shop", "STAGE": "test", "SIZE": "7"},
    )

    assert (config.name, config.start_commands, config.pool_size, config.notes) == ("shop-test", ("run test",), 7, ())


@pytest.mark.parametrize("value", ["a: b", "#x", "[1", "'\"", "a\nb", "${OTHER}", "\\1"])
def test_a_value_cannot_change_the_shape_of_the_file(resolved: Resolve, value: str) -> None:
    config = resolved(file="env:\n  SHOWN: ${VALUE}\n", environ={"VALUE": value, "OTHER": "no"})

    assert config.env == {"SHOWN": value}


def test_a_reference_to_nothing_is_not_given_and_is_told(resolved: Resolve) -> None:
    config = resolved(file="executor_id: ${LABEL}\nsys_db_pool_size: ${SIZE}\n")

    assert config.executor_label == "local"
    assert [note.level for note in config.notes] == [logging.WARNING] * 2
    assert "LABEL is not set" in config.notes[0].text


def test_docker_secrets_are_read_from_their_folder(
    resolved: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_SECRETS_FOLDER", tmp_path)
    (tmp_path / "db_password").write_text("p@ss\n", encoding="utf-8")

    config = resolved(file="database:\n  hostname: h\n  password: ${DOCKER_SECRET:db_password}\n")

    assert config.database_url == "postgresql://postgres:p%40ss@h:5432/greetings"


@pytest.mark.parametrize("number", ["1234", "0123"])
def test_a_numeric_password_stays_one(resolved: Resolve, number: str) -> None:
    config = resolved(file="database:\n  hostname: h\n  password: ${P}\n", environ={"P": number})

    assert config.database_url == f"postgresql://postgres:{number}@h:5432/greetings"


# The file's own variables


def test_the_variables_of_the_file_are_set_for_the_program(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "dbos-config.yaml").write_text(
        "env:\n  H3_FLAG: 1\n  DBOS__VMID: from-file\n  H3_NULL:\n", encoding="utf-8"
    )
    monkeypatch.setenv("H3_FLAG", "0")
    monkeypatch.delenv("DBOS__VMID", raising=False)

    config = configuration.resolve(cwd=home, announce=False)
    monkeypatch.setenv("DBOS__VMID", os.environ["DBOS__VMID"])  # so that it is taken away after the test

    assert (os.environ["H3_FLAG"], config.executor_label) == ("1", "from-file")
    assert "H3_NULL" not in os.environ


def test_another_environment_is_left_alone(resolved: Resolve) -> None:
    resolved(file="env: {H3_OTHER: x}\n")

    assert "H3_OTHER" not in os.environ


# What is said


def test_each_line_is_logged_once_per_process(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        config = configuration.resolve({"admin_port": 3001, "conductor_key": "x"}, environ={}, cwd=home)
        for note in config.notes:
            note.log()

    assert [record.name for record in caplog.records] == ["dbos", "dbos"]
    assert "admin_port does nothing here" in caplog.text


# Functions of early releases


def test_load_config_returns_the_file_with_references_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H3_HOST", "db.example")
    path = home / "dbos-config.yaml"
    path.write_text("name: shop\ndatabase: {hostname: '${H3_HOST}'}\napplication: {a: 1}\n", encoding="utf-8")

    loaded = configuration.load_config(str(path))

    assert loaded == {"name": "shop", "database": {"hostname": "db.example"}, "application": {"a": 1}}
    assert type(loaded["database"]["hostname"]) is str


def test_the_old_function_gives_a_url_for_sqlalchemy(home: Path) -> None:
    path = home / "dbos-config.yaml"
    path.write_text("database_url: postgres://me:p@h/shop\n", encoding="utf-8")

    assert configuration.get_dbos_database_url(str(path)) == "postgresql+psycopg://me:p@h/shop"


def test_the_old_functions_miss_the_file_as_they_did(home: Path) -> None:
    for function in (configuration.load_config, configuration.get_dbos_database_url):
        with pytest.raises(FileNotFoundError):
            function(str(home / "dbos-config.yaml"))


def test_without_a_database_the_old_function_says_so(home: Path) -> None:
    path = home / "dbos-config.yaml"
    path.write_text("name: shop\n", encoding="utf-8")

    with pytest.raises(DBOSInitializationError, match="names no database"):
        configuration.get_dbos_database_url(str(path))


# Names


@pytest.mark.parametrize(
    ("text", "name"),
    [("dbos-starter", "dbos-starter"), ("My App", "my-app"), ("Café (2)", "cafe-2"), ("a", "a-app"), ("", "app"),
     ("...", "app"), ("日本", "app"), ("__x__", "x-app"), ("x" * 300, "x" * 256)],
)  # fmt: skip
def test_any_text_becomes_a_valid_name(text: str, name: str) -> None:
    assert names.valid_name(text) == name
    assert names.is_valid_name(name)


@pytest.mark.parametrize(
    ("name", "database"),
    [("my-shop", "my_shop"), ("1shop", "_1shop"), ("postgres", "postgres_app"), ("template1", "template1_app")],
)
def test_a_database_is_named_after_the_application(name: str, database: str) -> None:
    assert names.database_name(name) == database


def test_long_names_do_not_share_a_database() -> None:
    first, second = (names.database_name("x" * 100 + end) for end in "ab")

    assert first != second
    assert len(first) == len(second) == 63
