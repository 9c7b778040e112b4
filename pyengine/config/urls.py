"""Database URLs as users have them, made into one form that libpq takes, and without passwords where they are shown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

import psycopg
from psycopg import conninfo, pq

from pyengine.config.redaction import redact
from pyengine.errors import DBOSInitializationError

__all__ = ["Address", "database_of", "normalise", "parse", "redact", "render", "with_database"]

EXAMPLE = "postgresql://user:password@host:5432/database"
_SQLITE_ADVICE = (
    "SQLite is not supported: this engine runs on Postgres only. Remove the URL to get an embedded Postgres that needs "
    f"no setup, or write {EXAMPLE}"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*):(?://)?")
_URI = re.compile(
    r"(?:(?P<user>[^:/?@]*)(?::(?P<password>[^/?@]*))?@)?(?P<hosts>[^@/?]*)"
    r"(?:/(?P<database>[^?@]*))?(?:\?(?P<query>(?:\w+=.*)?))?"
)
# A password may hold unescaped "@", "/" or "?": SQLAlchemy takes such URLs, so users have them; libpq misreads them.
_LENIENT_URI = re.compile(
    r"(?P<user>[^:/?@]*):(?P<password>.*)@(?P<hosts>[^@/?]*)(?:/(?P<database>[^?@]*))?(?:\?(?P<query>(?:\w+=.*)?))?"
)
_POSTGRES = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?")
# Options that other drivers and tools put into URLs. They tune those programs and mean nothing to libpq.
_FOREIGN = frozenset(
    {
        "async_fallback", "command_timeout", "connection_limit", "executemany_mode", "max_cached_statement_lifetime",
        "max_cacheable_statement_size", "pool_max_conns", "pool_timeout",
        "prepared_statement_cache_size", "prepared_statement_name_func", "schema", "server_side_cursors",
        "socket_timeout", "statement_cache_size", "supa", "timeout", "uselibpqcompat",
    }
)  # fmt: skip
# How other tools say in a URL that a transaction pooler is in between.
_POOLER = {
    "pgbouncer": {"true": True, "1": True, "false": False, "0": False},
    "pool_mode": {"transaction": True, "session": False},
}
_TLS = {
    "true": "require", "1": "require", "require": "require", "false": "disable", "0": "disable", "disable": "disable",
    "allow": "allow", "prefer": "prefer", "verify-ca": "verify-ca", "verify-full": "verify-full",
    "strict": "verify-full", "accept_invalid_certs": "require",
}  # fmt: skip
_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Address:
    """Connection parameters under libpq's names, and the options that were left out because libpq has none such.
    `is_pooled`: what the URL says of a transaction pooler; None: nothing.
    """

    parameters: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    is_pooled: bool | None = None


def normalise(text: str) -> str:
    """Return `text` as a `postgresql://` URI for libpq, or raise DBOSInitializationError saying what would be right."""
    return render(parse(text).parameters)


def parse(text: str) -> Address:
    # Quotes and newlines come along from .env files and from secrets mounted as files.
    stripped = text.strip().strip("'\"").strip()
    if not stripped:
        raise DBOSInitializationError(f"The database URL is empty; write {EXAMPLE}")
    if "\x00" in stripped:
        raise DBOSInitializationError("The database URL holds a NUL character")
    scheme = _SCHEME.match(stripped)
    if scheme is not None and (stripped[: scheme.end()].endswith("//") or not _looks_like_conninfo(stripped)):
        _check_scheme(scheme[1].lower(), stripped)
        return _parse_uri(stripped[scheme.end() :], stripped)
    if _looks_like_conninfo(stripped):
        return _parse_conninfo(stripped)
    raise DBOSInitializationError(
        f"{redact(stripped)!r} is not a database URL: it does not say postgresql://; write {EXAMPLE}"
    )


def _looks_like_conninfo(text: str) -> bool:
    return re.match(r"[a-z_]+\s*=", text) is not None


def _check_scheme(scheme: str, text: str) -> None:
    if scheme.partition("+")[0] in ("sqlite", "sqlite3"):
        raise DBOSInitializationError(f"{redact(text)}: {_SQLITE_ADVICE}")
    if _POSTGRES.fullmatch(scheme) is None:
        shown = f"{scheme}://…" if "://" in text else redact(text)
        raise DBOSInitializationError(
            f"{shown} is no URL this engine can use, because it runs on Postgres only; write {EXAMPLE}"
        )
    if not text[len(scheme) :].startswith("://"):
        raise DBOSInitializationError(f"{scheme}: must be followed by //; write {EXAMPLE}")


def _parse_uri(rest: str, text: str) -> Address:
    match = _URI.fullmatch(rest) or _LENIENT_URI.fullmatch(rest)
    if match is None:
        raise DBOSInitializationError(f"{redact(text)} cannot be read as a database URL; write {EXAMPLE}")
    parts = {"user": match["user"], "password": match["password"], "dbname": match["database"]}
    parameters = {key: unquote(value) for key, value in parts.items() if value}
    _add_hosts(parameters, match["hosts"], text)
    options, ignored = _options(match["query"] or "", text)
    is_pooled = _pop_pooler(options, text)
    check_options(options, text)
    _add_hosts(parameters, options.pop("host", ""), text)
    return _address({**parameters, **options}, text, ignored, is_pooled)


def _address(
    parameters: dict[str, str], text: str, ignored: tuple[str, ...] = (), is_pooled: bool | None = None
) -> Address:
    for port in parameters.get("port", "").split(","):
        _port(port.strip(), text)
    mode = parameters.get("sslmode", "prefer")
    if mode not in _TLS_MODES:
        raise DBOSInitializationError(f"{redact(text)}: sslmode={mode} is not one of {', '.join(_TLS_MODES)}")
    if "," in parameters.get("host", ""):
        # Of several servers only the primary is of use; libpq by itself takes the first that answers.
        parameters.setdefault("target_session_attrs", "read-write")
    return Address(parameters, ignored, is_pooled)


def _pop_pooler(options: dict[str, str], text: str) -> bool | None:
    said = None
    for key, meanings in _POOLER.items():
        if (value := options.pop(key, None)) is not None:
            said = meanings.get(value.lower())
            if said is None:
                raise DBOSInitializationError(f"{redact(text)}: {key}={value} is none of {', '.join(meanings)}")
    return said


def _add_hosts(parameters: dict[str, str], hosts: str, text: str) -> None:
    """Put `host:port,host:port` into the parallel lists libpq keeps."""
    names: list[str] = []
    ports: list[str] = []
    for item in hosts.split(",") if hosts else ():
        match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]]*|/.*))(?::(?P<port>\d*))?", item)
        if match is None:
            raise DBOSInitializationError(f"The host and port in {redact(text)} cannot be read; write {EXAMPLE}")
        names.append(unquote(match["v6"] or match["host"] or ""))
        ports.append(_port(match["port"] or "", text))
    if any(names):
        parameters["host"] = ",".join(names)
    if any(ports):
        parameters["port"] = ",".join(ports) if len(set(ports)) > 1 else ports[0]


def _port(port: str, text: str) -> str:
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise DBOSInitializationError(f"The port in {redact(text)} is not a number from 1 to 65535")
    return port


def _options(query: str, text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    options: dict[str, str] = {}
    ignored: list[str] = []
    for item in query.split("&") if query else ():
        key, _, value = (unquote(part) for part in item.partition("="))
        if not key:
            continue
        if key in ("ssl", "sslaccept"):
            _add_tls(options, value, text)
        elif key == "host" and key in options:  # several hosts, as SQLAlchemy writes them
            options[key] += f",{value}"
        elif key in _FOREIGN:
            ignored.append(key)
        else:
            options["dbname" if key == "database" else key] = value
    return options, tuple(ignored)


def _add_tls(options: dict[str, str], value: str, text: str) -> None:
    mode = _TLS.get(value.lower())
    if mode is None:
        raise DBOSInitializationError(f"{redact(text)}: ssl={value} is not known; write sslmode=require or verify-full")
    options.setdefault("sslmode", mode)


def check_options(options: Iterable[str], text: str) -> None:
    """Refuse options libpq does not have: a misspelt sslmode must not quietly mean no TLS."""
    known = libpq_options()
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)[0]
            raise DBOSInitializationError(
                f"{redact(text)}: {key!r} is no connection option of Postgres; the nearest is {near!r}"
            )


def libpq_options() -> frozenset[str]:
    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


def _parse_conninfo(text: str) -> Address:
    # Never shown, not even redacted: where a password with spaces lacks its quotes, nobody can tell where it ends.
    # libpq's own message quotes what it could not read, too.
    shown = "The connection string"
    keys = re.findall(r"(?:^|\s)([a-z_]+)\s*=", re.sub(r"=\s*'(?:[^'\\]|\\.)*'", "=", text))
    check_options(keys, shown)
    try:
        parameters = conninfo.conninfo_to_dict(text)
    except psycopg.Error:
        raise DBOSInitializationError(
            f"{shown} cannot be read: it is key=value pairs, with quotes around values that hold spaces"
        ) from None
    return _address({key: str(value) for key, value in parameters.items() if value is not None}, shown)


def render(parameters: Mapping[str, str]) -> str:
    """Write the parameters as a URI for libpq."""
    rest = {key: value for key, value in parameters.items() if value}
    user, password = rest.pop("user", ""), rest.pop("password", "")
    if password and not user:
        rest["password"] = password  # libpq reads no password without a user in front of it
        password = ""
    userinfo = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + ("@" if user else "")
    database = rest.pop("dbname", "")
    hosts = _render_hosts(rest)
    query = "&".join(f"{key}={quote(value, safe='/:,')}" for key, value in rest.items())
    return f"postgresql://{userinfo}{hosts}/{quote(database, safe='')}" + (f"?{query}" if query else "")


def _render_hosts(rest: dict[str, str]) -> str:
    hosts = rest.get("host", "").split(",")
    ports = rest.get("port", "").split(",")
    if not any(hosts) or any(host.startswith(("/", "@")) for host in hosts) or len(ports) not in (1, len(hosts)):
        return ""  # sockets, and what only the options can say
    rest.pop("host")
    rest.pop("port", None)
    pairs = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True)
    return ",".join(_render_host(host) + (f":{port}" if port else "") for host, port in pairs)


def _render_host(host: str) -> str:
    return f"[{quote(host, safe=':')}]" if ":" in host else quote(host, safe="")


def database_of(url: str) -> str | None:
    """The database named in `url`, if it names one."""
    return parse(url).parameters.get("dbname") or None


def with_database(url: str, name: str) -> str:
    """The same URL for another database of the same server."""
    return render({**parse(url).parameters, "dbname": name})
