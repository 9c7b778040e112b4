"""One configuration out of argument, command line, environment and file, each asked in that order for each key."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyengine import logs
from pyengine.config import checks, environment, file, keys, names, notes
from pyengine.config.database import Choice, Given, Source, choose
from pyengine.config.model import (
    DEFAULT_EXECUTOR_LABEL,
    DEFAULT_LEASE_TTL_SECONDS,
    DEFAULT_POOL_SIZE,
    DEFAULT_RETENTION_DAYS,
    DEFAULT_SCHEMA,
    Config,
)
from pyengine.config.notes import Note
from pyengine.config.redaction import redact
from pyengine.errors import DBOSInitializationError

_URL_SETTINGS = ("system_database_url", "application_database_url")
_PATCHING_VERSION = "PATCHING_ENABLED"


def resolve(
    argument: Mapping[str, Any] | None = None,
    *,
    url_flag: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    config_file: Path | None = None,
    announce: bool = True,
) -> Config:
    """Return the configuration in force, or raise DBOSInitializationError.

    `config_file` is read instead of the one found from `cwd` upwards. Unless `announce` is false, logging is configured
    and what there is to tell is logged, each line once per process. When the real environment is used, the variables in
    the file's `env` are set in it, as every release of the API did.
    """
    folder = Path.cwd() if cwd is None else cwd
    variables: Mapping[str, str] = os.environ if environ is None else environ
    config = _Resolver(argument, url_flag, variables, folder, config_file).resolve()
    if environ is None:
        os.environ.update(config.env)
    if announce:
        logs.configure(config.log_level, config.console_log_level)
        notes.announcer.announce(config.notes)
    return config


class _Resolver:
    def __init__(
        self,
        argument: Mapping[str, Any] | None,
        url_flag: str | None,
        environ: Mapping[str, str],
        folder: Path,
        config_file: Path | None,
    ) -> None:
        self._notes: list[Note] = []
        self._folder = folder
        self._path, contents = self._read_file(config_file, environ, has_argument=bool(argument))
        argued = self._settings("argument", {} if argument is None else argument)
        written = self._settings(self._file_label(), contents)
        self._env: dict[str, str] = {**_value(written, "env", {}), **_value(argued, "env", {})}
        self._environ = {**environ, **self._env}
        flag = {} if url_flag is None else {"system_database_url": Given(url_flag, "the database URL option")}
        self._sources = [
            Source("argument", argued),
            Source("command line", flag),
            Source("environment", self._environment()),
            Source(file.FILE_NAME, written),
        ]

    def resolve(self) -> Config:
        name = self._get("name", None) or self._folder_name()
        database = choose(self._sources, name, self._environ)
        return Config(
            name=name,
            database_url=database.url,
            database_source=database.source,
            database_name=database.name,
            application_database_url=database.application_url,
            schema=self._get("dbos_system_schema", DEFAULT_SCHEMA),
            pool_size=self._pool_size(),
            is_pooled=self._get("transaction_pooler", database.is_pooled),
            notifies=self._get("use_listen_notify", True),
            run_migrations=self._get("run_migrations", True),
            application_version=self._application_version(),
            application_id=self._get("application_id", ""),
            executor_label=self._get("executor_label", DEFAULT_EXECUTOR_LABEL),
            max_executor_threads=self._get("max_executor_threads", None),
            lease_ttl_seconds=self._get("lease_ttl_seconds", DEFAULT_LEASE_TTL_SECONDS),
            retention_days=self._get("retention_days", DEFAULT_RETENTION_DAYS),
            is_deep_idler=self._get("idle", "normal") == "deep",
            executor_processes=self._get("executor_processes", None),
            serializer=self._get("serializer", None),
            strict_json=self._get("strict_json", False),
            log_level=self._get("log_level", logging.INFO),
            console_log_level=self._get("console_log_level", None),
            start_commands=self._get("start_commands", ()),
            migrate_commands=self._get("migrate_commands", ()),
            env=self._env,
            config_file=self._path,
            notes=self._all_notes(database),
        )

    # Reading the sources

    def _read_file(
        self, path: Path | None, environ: Mapping[str, str], *, has_argument: bool
    ) -> tuple[Path | None, Mapping[str, Any]]:
        found = file.find(self._folder) if path is None else path
        if found is None:
            return None, {}
        read = file.read(found, environ)
        language = read.content.get("language", "python")
        if language != "python" and language in ("typescript", "javascript", "go", "java"):
            if not has_argument:
                raise DBOSInitializationError(f"{found} configures an application in {language}, not in python")
            self._notes.append(notes.warning(f"{found} configures an application in {language}: it is not read"))
            return None, {}
        self._notes.extend(read.notes)
        return found, read.content

    def _file_label(self) -> str:
        return file.FILE_NAME if self._path is None else str(self._path)

    def _settings(self, place: str, written: Mapping[str, Any]) -> dict[str, Given]:
        if not isinstance(written, Mapping):
            raise DBOSInitializationError(
                f"The configuration must be a dictionary (DBOSConfig), it is a {type(written).__name__}"
            )
        settings: dict[str, Given] = {}
        for key, value in _flat(place, written):
            checked = _check(key.check, value, f"{key.path} ({place})", secret=key.secret)
            if checked is None:
                if key.setting in _URL_SETTINGS:
                    settings.setdefault(key.setting, Given(None, key.path))
            elif not key.used:
                if checked not in key.quiet:
                    self._notes.append(notes.info(f"Configuration key {key.path} does nothing here: {key.does}"))
            elif key.setting == key.path or key.setting not in settings or settings[key.setting].value is None:
                settings[key.setting] = Given(checked, key.path)
        return settings

    def _environment(self) -> dict[str, Given]:
        settings: dict[str, Given] = {}
        for variable, text in environment.present(self._environ):
            if variable.setting is None:
                told = f"Environment variable {variable.name} does nothing here: {variable.does}"
                self._notes.append(notes.info(told))
                continue
            checked = _check(variable.check, text, f"environment variable {variable.name}", secret=variable.secret)
            settings[variable.setting] = Given(checked, variable.name)
        return settings

    # Deciding

    def _get(self, setting: str, default: Any) -> Any:
        for source in self._sources:
            if setting in source.settings:
                return source.settings[setting].value
        return default

    def _folder_name(self) -> str:
        folder = self._folder if self._path is None else self._path.parent
        return names.valid_name(folder.absolute().name)

    def _application_version(self) -> str | None:
        version: str | None = self._get("application_version", None)
        return _PATCHING_VERSION if version is None and self._get("enable_patching", False) else version

    def _pool_size(self) -> int:
        size = self._get("pool_size", None)
        if size is None:
            size = self._get("db_engine_kwargs", {}).get("pool_size")
            if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
                raise _bad("db_engine_kwargs.pool_size", size, "a whole number of at least 1 is needed")
        return DEFAULT_POOL_SIZE if size is None else int(size)

    def _all_notes(self, database: Choice) -> tuple[Note, ...]:
        kwargs: dict[str, Any] = self._get("db_engine_kwargs", {})
        unused = sorted(kwargs.keys() - {"pool_size", "connect_args"})
        if unused:
            told = f"db_engine_kwargs: {', '.join(unused)} does nothing here: the engine does not use SQLAlchemy"
            self._notes.append(notes.info(told))
        return tuple(dict.fromkeys([*self._notes, *database.notes]))


def _flat(place: str, written: Mapping[str, Any], section: str = "") -> Iterator[tuple[keys.Key, Any]]:
    for name, value in written.items():
        path = f"{section}.{name}" if section else str(name)
        key = keys.BY_PATH.get(path)
        if key is not None:
            yield key, value
        elif path in keys.SECTIONS:
            if value is not None and not isinstance(value, Mapping):
                raise _bad(f"{path} ({place})", value, "a mapping is needed")
            yield from _flat(place, value or {}, path)
        else:
            raise DBOSInitializationError(
                f"Unknown configuration key {path!r} ({place}); the nearest known key is {keys.nearest(path)!r}"
            )


def _check(check: checks.Check, value: Any, where: str, *, secret: bool) -> Any:
    """Return the checked value; None for one that is not given."""
    if value is None:
        return None
    if isinstance(value, checks.Substituted) and not value.strip() and check is not checks.url:
        return None  # a reference to a variable that is not set
    try:
        return check(value)
    except ValueError as exc:
        raise _bad(where, value, str(exc), secret=secret) from None


def _bad(where: str, value: Any, wanted: str, *, secret: bool = False) -> DBOSInitializationError:
    shown = "the value" if secret else redact(repr(value if not isinstance(value, checks.Substituted) else str(value)))
    if len(shown) > 120:
        shown = f"{shown[:117]}..."
    return DBOSInitializationError(f"Bad configuration: {where}: {shown} is not valid: {wanted}")


def _value(settings: Mapping[str, Given], setting: str, default: Any) -> Any:
    return settings[setting].value if setting in settings else default
