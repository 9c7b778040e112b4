"""Which database it is: argument, command line, environment, file, embedded, in this order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyengine.config import Config
from pyengine.errors import DBOSInitializationError

Resolve = Callable[..., Config]
FILE = "system_database_url: postgresql://file/d\n"


def texts(config: Config) -> str:
    return "\n".join(note.text for note in config.notes)


def test_nothing_configured_is_the_embedded_one_named_after_the_application(resolved: Resolve) -> None:
    config = resolved({"name": "my-shop"})

    assert config.database_url is None
    assert (config.database_source, config.database_name, config.notes) == ("embedded", "my_shop", ())


def test_each_place_wins_over_the_next(resolved: Resolve) -> None:
    argument = {"system_database_url": "postgresql://argument/d"}
    flag = "postgresql://flag/d"
    environ = {"DBOS_SYSTEM_DATABASE_URL": "postgresql://environment/d"}

    found = [
        resolved(argument, flag=flag, environ=environ, file=FILE),
        resolved({}, flag=flag, environ=environ, file=FILE),
        resolved({}, environ=environ, file=FILE),
        resolved({}, file=FILE),
    ]

    assert [(config.database_url, config.database_source) for config in found] == [
        ("postgresql://argument/d", "argument system_database_url"),
        ("postgresql://flag/d", "command line"),
        ("postgresql://environment/d", "environment DBOS_SYSTEM_DATABASE_URL"),
        ("postgresql://file/d", "dbos-config.yaml"),
    ]


@pytest.mark.parametrize("key", ["database_url", "application_database_url"])
def test_an_application_database_serves_the_engine_too_and_says_so(resolved: Resolve, key: str) -> None:
    config = resolved({key: "postgresql://h/shop"})

    assert config.database_url == config.application_database_url == "postgresql://h/shop"
    assert [note.text for note in config.notes] == [
        f"{key} is the database of application and engine; "
        "give system_database_url to keep the engine's tables elsewhere"
    ]


def test_the_system_database_wins_over_the_applications(resolved: Resolve) -> None:
    config = resolved({"database_url": "postgresql://h/shop", "system_database_url": "postgresql://h/engine"})

    assert config.database_url == "postgresql://h/engine"
    assert config.application_database_url == "postgresql://h/shop"


def test_sys_db_name_replaces_the_database_name(resolved: Resolve) -> None:
    config = resolved({"database_url": "postgresql://h/shop?sslmode=require", "sys_db_name": "engine"})

    assert config.database_url == "postgresql://h/engine?sslmode=require"
    assert config.database_name == "engine"
    assert config.application_database_url == "postgresql://h/shop?sslmode=require"


def test_sys_db_name_names_the_embedded_database(resolved: Resolve) -> None:
    assert resolved({"sys_db_name": "engine"}).database_name == "engine"


def test_sys_db_name_beside_a_system_url_is_told_to_do_nothing(resolved: Resolve) -> None:
    config = resolved({"system_database_url": "postgresql://h/a", "sys_db_name": "b"})

    assert config.database_name == "a"
    assert "sys_db_name does nothing here" in texts(config)


def test_the_url_of_a_sqlalchemy_engine_is_used(resolved: Resolve) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine("postgresql+psycopg://me:p%40ss@h/shop")

    assert resolved({"system_database_engine": engine}).database_url == "postgresql://me:p%40ss@h/shop"


def test_connect_arguments_of_an_engine_are_not_lost(resolved: Resolve) -> None:
    kwargs = {"connect_args": {"sslmode": "require", "connect_timeout": 3}, "pool_size": 7, "echo": True}

    config = resolved({"system_database_url": "postgresql://h/shop", "db_engine_kwargs": kwargs})

    assert config.database_url == "postgresql://h/shop?sslmode=require&connect_timeout=3"
    assert config.pool_size == 7
    assert "db_engine_kwargs: echo does nothing here" in texts(config)


def test_a_url_without_a_database_gets_the_applications(resolved: Resolve) -> None:
    config = resolved({"name": "my-shop", "system_database_url": "postgresql://h"})

    assert (config.database_url, config.database_name) == ("postgresql://h/my_shop", "my_shop")
    assert "system_database_url names no database: 'my_shop' is used" in texts(config)


def test_pgdatabase_completes_a_url_as_libpq_does(resolved: Resolve) -> None:
    config = resolved({"system_database_url": "postgresql://h"}, environ={"PGDATABASE": "theirs"})

    assert (config.database_url, config.database_name) == ("postgresql://h/", "theirs")


# Empty is not configured


def test_an_empty_variable_is_warned_about_by_name(resolved: Resolve) -> None:
    config = resolved(environ={"DBOS_SYSTEM_DATABASE_URL": " "})

    assert config.database_url is None
    assert [(note.level, note.text) for note in config.notes] == [
        (30, "DBOS_SYSTEM_DATABASE_URL is empty: taken as not configured")
    ]


@pytest.mark.parametrize("environ", [{}, {"MY_URL": ""}])
def test_a_reference_to_nothing_is_warned_about_by_its_name(resolved: Resolve, environ: dict[str, str]) -> None:
    config = resolved(file="system_database_url: ${MY_URL}\n", environ=environ)

    assert config.database_url is None
    assert [(note.level, note.text) for note in config.notes] == [
        (
            30,
            "system_database_url in dbos-config.yaml is empty (environment variable MY_URL is not set): "
            "taken as not configured",
        )
    ]


def test_a_variable_found_empty_twice_is_warned_about_once(resolved: Resolve) -> None:
    environ = {"DBOS_DATABASE_URL": ""}

    assert len(resolved(file="database_url: ${DBOS_DATABASE_URL}\n", environ=environ).notes) == 1


@pytest.mark.parametrize(
    ("argument", "file", "level"),
    [
        ({"system_database_url": ""}, None, 30),
        ({"system_database_url": None}, None, 20),
        (None, "system_database_url:\n", 30),
        (None, "system_database_url: ''\n", 30),
    ],
)
def test_an_empty_value_is_told_by_its_key(
    resolved: Resolve, argument: dict[str, object] | None, file: str | None, level: int
) -> None:
    (note,) = resolved(argument, file=file).notes

    assert note.level == level
    assert "system_database_url" in note.text


def test_an_empty_flag_falls_through_with_a_warning(resolved: Resolve) -> None:
    config = resolved(flag="", file=FILE)

    assert config.database_url == "postgresql://file/d"
    assert "the database URL option is empty" in texts(config)


# The fields of the tutorial's time

FIELDS = """
name: my-shop
database:
  hostname: db.example
  port: ${PORT}
  username: me
  password: ${SECRET}
"""


def test_fields_make_a_url(resolved: Resolve) -> None:
    config = resolved(file=FIELDS, environ={"PORT": "5433", "SECRET": "p@ss: #1"})

    assert config.database_url == "postgresql://me:p%40ss%3A%20%231@db.example:5433/my_shop"
    assert config.database_source == "dbos-config.yaml"


def test_fields_have_the_defaults_they_had(resolved: Resolve) -> None:
    config = resolved(file="name: 1shop\ndatabase:\n  port: 5433\n")

    assert config.database_url == "postgresql://postgres@localhost:5433/_1shop"


def test_variables_complete_the_fields_of_the_file(resolved: Resolve) -> None:
    environ = {"DBOS_DBHOST": "other", "DBOS_DBPASSWORD": "secret", "DBOS_DBLOCALSUFFIX": "true"}

    config = resolved(file=FIELDS, environ={**environ, "PORT": "5433"})

    assert config.database_url == "postgresql://me:secret@other:5433/my_shop_local"
    assert config.database_source == "environment DBOS_DBHOST"


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ("ssl: true", "sslmode=require"),
        ("ssl: false", "sslmode=disable"),
        ("ssl_ca: ca.pem", "sslmode=verify-full&sslrootcert=ca.pem"),
        ("connectionTimeoutMillis: 2500", "connect_timeout=3"),
    ],
)
def test_fields_become_options(resolved: Resolve, fields: str, options: str) -> None:
    config = resolved(file=f"database:\n  hostname: h\n  app_db_name: a\n  sys_db_name: s\n  {fields}\n")

    assert config.database_url == f"postgresql://postgres@h:5432/s?{options}"


def test_a_password_alone_names_no_server(resolved: Resolve) -> None:
    config = resolved(file="database:\n  password: secret\n  migrate: [alembic upgrade head]\n")

    assert config.database_url is None
    assert config.migrate_commands == ("alembic upgrade head",)
    assert "database.password does nothing here" in texts(config)


def test_pgpassword_alone_configures_nothing(resolved: Resolve) -> None:
    config = resolved(environ={"PGPASSWORD": "secret"})

    assert (config.database_url, config.notes) == (None, ())


# What must not be shown


@pytest.mark.parametrize("argument", [{"system_database_url": "postgresql://me:secret@h:x/d"},
                                      {"database_url": "mysql://me:secret@h/d"},
                                      {"system_database_url": 5},
                                      {"database": {"hostname": "h", "password": ["secret"]}}])  # fmt: skip
def test_errors_name_the_key_and_no_password(resolved: Resolve, argument: dict[str, object]) -> None:
    with pytest.raises(DBOSInitializationError, match="database") as raised:
        resolved(argument)

    assert "secret" not in str(raised.value)


def test_a_configuration_does_not_show_its_password(resolved: Resolve) -> None:
    config = resolved({"database_url": "postgresql://me:secret@h/d", "env": {"TOKEN": "secret"}})

    assert "secret" not in repr(config)
    assert "secret" not in texts(config)
    assert config.redacted_url == "postgresql://me:***@h/d"
