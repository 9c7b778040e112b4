"""Every key of every era is used or explained; what none had is an error, and so is a value that cannot be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyengine.config import Config, DBOSConfig, keys, reference
from pyengine.errors import DBOSInitializationError

Resolve = Callable[..., Config]


class PlainSerializer:
    def serialize(self, value: Any) -> str:
        return str(value)

    def deserialize(self, text: str) -> Any:
        return text


SAMPLES: dict[str, Any] = {
    "name": "my-shop",
    "language": "python",
    "serializer": PlainSerializer(),
    "system_database_url": "postgresql://h/a",
    "database_url": "postgresql://h/a",
    "application_database_url": "postgresql://h/a",
    "otel_attribute_format": "semconv",
    "executor_processes": 2,
    "idle": "deep",
    "env": {"A": "b"},
}


class EngineLike:
    url = "postgresql://h/a"


def sample(key: keys.Key) -> Any:
    if key.path == "system_database_engine":
        return EngineLike()
    if key.path in SAMPLES:
        return SAMPLES[key.path]
    for candidate in (True, False, 3, "INFO", ["x"], {"x": "y"}):
        try:
            key.check(candidate)
        except ValueError:
            continue
        if candidate not in key.quiet:
            return candidate
    raise AssertionError(f"no sample value for {key.path}")


def nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


@pytest.mark.parametrize("key", keys.KEYS, ids=lambda key: key.path)
def test_each_key_of_any_era_is_used_or_explained(resolved: Resolve, key: keys.Key) -> None:
    config = resolved(nested(key.path, sample(key)))

    explained = f"Configuration key {key.path} does nothing here: {key.does}"
    assert (explained in [note.text for note in config.notes]) is not key.used


@pytest.mark.parametrize("key", keys.KEYS, ids=lambda key: key.path)
def test_each_key_may_be_none(resolved: Resolve, key: keys.Key) -> None:
    assert resolved(nested(key.path, None)).name == "greetings"


def test_the_typed_dictionary_has_every_flat_key() -> None:
    flat = {key.path for key in keys.KEYS if key.home in (keys.DICT, keys.BOTH, keys.OWN)}

    assert set(DBOSConfig.__annotations__) == flat


def test_used_keys_arrive(resolved: Resolve) -> None:
    serializer = PlainSerializer()

    config = resolved(
        {
            "name": "my-shop",
            "dbos_system_schema": "dbos",
            "sys_db_pool_size": 9,
            "run_migrations": False,
            "application_version": "v1",
            "executor_id": "host-7",
            "max_executor_threads": 5,
            "log_level": "debug",
            "console_log_level": 40,
            "serializer": serializer,
            "strict_json": True,
            "lease_ttl_seconds": 5,
        }
    )

    assert (config.name, config.schema, config.pool_size) == ("my-shop", "dbos", 9)
    assert (config.run_migrations, config.strict_json) == (False, True)
    assert (config.application_version, config.executor_label) == ("v1", "host-7")
    assert (config.max_executor_threads, config.lease_ttl_seconds) == (5, 5.0)
    assert (config.log_level, config.console_log_level, config.serializer) == (10, 40, serializer)
    assert config.notes == ()


def test_defaults(resolved: Resolve) -> None:
    config = resolved()

    assert (config.name, config.schema, config.executor_label) == ("greetings", "pyengine", "local")
    assert (config.run_migrations, config.strict_json) == (True, False)
    assert (config.lease_ttl_seconds, config.log_level, config.application_version) == (15.0, 20, None)


def test_values_that_ask_for_what_happens_anyway_are_not_commented(resolved: Resolve) -> None:
    config = resolved({"run_admin_server": False, "enable_otlp": False, "sharding": False, "otlp_traces_endpoints": []})

    assert config.notes == ()


def test_patching_pins_its_version_unless_one_is_configured(resolved: Resolve) -> None:
    assert resolved({"enable_patching": True}).application_version == "PATCHING_ENABLED"
    assert resolved({"enable_patching": True, "application_version": "v1"}).application_version == "v1"
    assert resolved({"enable_patching": False}).application_version is None


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ({"sys_db_poolsize": 3}, "sys_db_pool_size"),
        ({"system_databse_url": "x"}, "system_database_url"),
        ({"SYSTEM_DATABASE_URL": "x"}, "system_database_url"),
        ({"hostname": "x"}, "database.hostname"),
        ({"database": {"host": "x"}}, "database.hostname"),
        ({"runtimeConfig": {"strat": []}}, "runtimeConfig.start"),
        ({"telemetry": {"logs": {"loglevel": "INFO"}}}, "telemetry.logs.logLevel"),
        ({"runtime": {}}, "runtimeConfig"),
        ({5: 6}, ""),
    ],
)
def test_what_no_era_had_is_an_error_with_the_nearest_key(
    resolved: Resolve, written: dict[Any, Any], near: str
) -> None:
    with pytest.raises(DBOSInitializationError, match="Unknown configuration key") as raised:
        resolved(written)

    assert f"the nearest known key is '{near}" in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("sys_db_pool_size", value) for value in (0, -1, 2.5, float("nan"), float("inf"), "5", True, [])],
        *[("retention_days", value) for value in (-1, float("nan"), float("inf"), "x", True)],
        *[("lease_ttl_seconds", value) for value in (0, -1, 0.5, float("nan"), float("inf"), "5", True)],
        *[("notification_listener_polling_interval_sec", value) for value in (0, 0.0001, float("nan"))],
        *[("max_executor_threads", value) for value in (0, -3, "many")],
        *[("name", value) for value in ("ab", "x" * 257, "Shop", "my shop", "shop!", 5, "")],
        *[("use_listen_notify", value) for value in ("yes", 1, 0)],
        *[("log_level", value) for value in ("LOUD", True, [], -1)],
        *[("dbos_system_schema", value) for value in ("", "pg_mine", "s" * 64, 5)],
        *[("application_version", value) for value in ("", " ", 5, "a\x00b")],
        *[("serializer", value) for value in (5, "json", object())],
        *[("system_database_engine", value) for value in (5, "x")],
        *[("admin_port", value) for value in (-1, 65536, "3001")],
        *[("otlp_traces_endpoints", value) for value in (5, [5])],
        *[("database", value) for value in ("postgresql://h/d", 5, [])],
        *[("env", value) for value in ([], {"A": []}, {"": "x"})],
        ("db_engine_kwargs", {"pool_size": 0}),
        ("otel_attribute_format", "new"),
        *[("idle", value) for value in ("off", "DEEP", True, 1)],
    ],
)
def test_a_value_that_cannot_be_right_is_an_error_with_key_and_value(
    resolved: Resolve, key: str, value: object
) -> None:
    with pytest.raises(DBOSInitializationError) as raised:
        resolved({key: value})

    shown = repr(value["pool_size"] if key == "db_engine_kwargs" else value)  # type: ignore[index]
    assert key in str(raised.value)
    assert shown[:40] in str(raised.value)
    assert "needed" in str(raised.value)


@pytest.mark.parametrize("config", ["dbos-config.yaml", 5, [("name", "x")]])
def test_a_configuration_is_a_mapping(resolved: Resolve, config: Any) -> None:
    with pytest.raises(DBOSInitializationError, match=f"it is a {type(config).__name__}"):
        resolved(config)


def test_secret_values_are_not_shown(resolved: Resolve) -> None:
    with pytest.raises(DBOSInitializationError) as raised:
        resolved({"conductor_key": ["secret"]})

    assert "secret" not in str(raised.value)


def test_the_reference_page_is_current() -> None:
    page = reference.PAGE.read_text(encoding="utf-8")

    assert reference.updated(page) == page, "run: python -m pyengine.config.reference"
