"""Which database the engine works in: the first of argument, command line, environment, file that names one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyengine.config import names, notes, urls
from pyengine.config.notes import Note
from pyengine.errors import DBOSInitializationError


@dataclass(frozen=True)
class Given:
    """A checked value, and the key or variable it was written under."""

    value: Any
    key: str


@dataclass
class Source:
    """One place configuration comes from, its settings under the engine's names."""

    kind: str
    """'argument', 'command line', 'environment' or the file's name."""
    settings: dict[str, Given] = field(default_factory=dict)

    def described(self, key: str) -> str:
        return f"{self.kind} {key}" if self.kind in ("argument", "environment") else self.kind


@dataclass
class Choice:
    url: str | None
    source: str
    name: str
    application_url: str | None = None
    notes: list[Note] = field(default_factory=list)
    is_pooled: bool | None = None
    """What the URL says of a transaction pooler; None: nothing."""


# These say that a server is meant. A password or database name alone does not: files of the tutorial's time have them.
_SERVER_FIELDS = ("database.hostname", "database.port", "database.username")


def choose(sources: list[Source], application: str, environ: Mapping[str, str]) -> Choice:
    """Decide on the database. `sources` come in the order in which they are asked."""
    merged: dict[str, Given] = {}
    for source in reversed(sources):
        merged.update(source.settings)
    chooser = _Chooser(merged, application, environ)
    for source in sources:
        choice = chooser.from_source(source)
        if choice is not None:
            return choice
    return chooser.embedded()


class _Chooser:
    def __init__(self, merged: dict[str, Given], application: str, environ: Mapping[str, str]) -> None:
        self._merged = merged
        self._application = application
        self._environ = environ
        self._notes: list[Note] = []
        self._empty_variables: set[str] = set()

    def from_source(self, source: Source) -> Choice | None:
        system = self._url(source, "system_database_url") or self._engine_url(source)
        application = self._url(source, "application_database_url")
        if system is not None:
            return self._choice(source, system, None if application is None else application[0])
        if application is not None:
            url, key = application
            self._notes.append(
                notes.info(
                    f"{key} is the database of application and engine; "
                    "give system_database_url to keep the engine's tables elsewhere"
                )
            )
            return self._choice(source, (self._renamed(url), key), url)
        if any(name in source.settings for name in _SERVER_FIELDS):
            key = next(source.settings[name].key for name in _SERVER_FIELDS if name in source.settings)
            return self._choice(source, (self._from_fields(), key), None)
        return None

    def embedded(self) -> Choice:
        if "database.password" in self._merged:
            key = self._merged["database.password"].key
            self._notes.append(notes.info(f"{key} does nothing here, because no host is configured with it"))
        written = self._merged.get("sys_db_name")
        name = self._field_database() if written is None else str(written.value)
        return Choice(None, "embedded", name, notes=self._notes)

    def _url(self, source: Source, setting: str) -> tuple[str, str] | None:
        given = source.settings.get(setting)
        if given is None:
            return None
        if given.value is None:
            # `"system_database_url": os.environ.get(…)` is in many programs: where the variable is forgotten, say so.
            level = notes.info if source.kind == "argument" else notes.warning
            self._notes.append(level(f"{given.key} in {_place(source)} has no value: taken as not configured"))
            return None
        if given.value.strip():
            return given.value, given.key
        self._warn_of_empty(source, given)
        return None

    def _warn_of_empty(self, source: Source, given: Given) -> None:
        referred = getattr(given.value, "variables", ())
        fresh = [name for name in referred if name not in self._empty_variables]
        if referred and not fresh:
            return  # the same variable was empty one source earlier
        self._empty_variables.update(fresh)
        if given.key in fresh or source.kind == "command line":
            subject = given.key
        else:
            subject = f"{given.key} in {_place(source)}"
        because = "".join(f" (environment variable {name} is not set)" for name in fresh if name != given.key)
        self._notes.append(notes.warning(f"{subject} is empty{because}: taken as not configured"))

    def _engine_url(self, source: Source) -> tuple[str, str] | None:
        given = source.settings.get("system_database_engine")
        if given is None:
            return None
        render = getattr(given.value.url, "render_as_string", None)
        url = render(hide_password=False) if callable(render) else str(given.value.url)
        self._notes.append(notes.info(f"{given.key}: its URL is used, its pool and options are not"))
        return url, given.key

    def _choice(self, source: Source, found: tuple[str, str], application_url: str | None) -> Choice:
        url, key = found
        described = source.described(key)
        address = _parse(url, described, self._notes)
        parameters = dict(address.parameters)
        parameters.update(self._connect_arguments())
        if not parameters.get("dbname") and not (self._environ.get("PGDATABASE") or "service" in parameters):
            parameters["dbname"] = self._field_database()
            self._notes.append(notes.info(f"{key} names no database: {parameters['dbname']!r} is used"))
        name = parameters.get("dbname") or self._environ.get("PGDATABASE") or self._field_database()
        if "sys_db_name" in self._merged and name != self._merged["sys_db_name"].value:
            self._notes.append(notes.info(f"sys_db_name does nothing here, because {key} names the database"))
        if application_url is not None:
            application_url = urls.render(_parse(application_url, described, []).parameters)
        return Choice(urls.render(parameters), described, name, application_url, self._notes, address.is_pooled)

    def _renamed(self, url: str) -> str:
        given = self._merged.get("sys_db_name")
        return url if given is None or not url.strip() else urls.with_database(url, given.value)

    def _field_database(self) -> str:
        given = self._merged.get("database.app_db_name")
        name = names.database_name(self._application) if given is None else str(given.value)
        suffix = self._merged.get("database.local_suffix")
        return f"{name}_local" if suffix is not None and suffix.value else name

    def _from_fields(self) -> str:
        """The URL of the fields of older releases. A missing password is left to libpq: PGPASSWORD, password file."""
        parameters = {
            "host": str(self._field("hostname", "localhost")),
            "port": str(self._field("port", 5432)),
            "user": str(self._field("username", "postgres")),
            "password": str(self._field("password", "")),
            "dbname": self._field_database(),
        }
        if "sys_db_name" in self._merged:
            parameters["dbname"] = str(self._merged["sys_db_name"].value)
        authority, tls = self._field("ssl_ca", None), self._field("ssl", None)
        if tls is False:
            parameters["sslmode"] = "disable"
        elif authority is not None:
            parameters.update(sslmode="verify-full", sslrootcert=str(authority))
        elif tls:
            parameters["sslmode"] = "require"
        milliseconds = self._field("connectionTimeoutMillis", None)
        if milliseconds:
            parameters["connect_timeout"] = str(math.ceil(milliseconds / 1000))
        return urls.render(parameters)

    def _field(self, name: str, default: Any) -> Any:
        given = self._merged.get(f"database.{name}")
        return default if given is None else given.value

    def _connect_arguments(self) -> dict[str, str]:
        """Those of SQLAlchemy's connect_args that libpq knows: TLS and timeouts must not be lost."""
        given = self._merged.get("db_engine_kwargs")
        arguments = given.value.get("connect_args") if given is not None else None
        if not isinstance(arguments, Mapping):
            return {}
        known = urls.libpq_options()
        return {
            key: str(value)
            for key, value in arguments.items()
            if key in known and isinstance(value, (str, int)) and not isinstance(value, bool)
        }


def _place(source: Source) -> str:
    return "the argument" if source.kind == "argument" else source.kind


def _parse(url: str, described: str, told: list[Note]) -> urls.Address:
    try:
        address = urls.parse(url)
    except DBOSInitializationError as exc:
        raise DBOSInitializationError(f"{described}: {exc.message}") from None
    if address.ignored:
        told.append(notes.info(f"{described}: {', '.join(address.ignored)} means nothing to Postgres and is left out"))
    return address
