"""The environment variables of every era."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyengine.config import checks


@dataclass(frozen=True, kw_only=True)
class Variable:
    name: str
    setting: str | None
    check: checks.Check
    era: str
    does: str
    secret: bool = False


def _used(
    name: str, setting: str, era: str, does: str, check: checks.Check = checks.text, *, secret: bool = False
) -> Variable:
    return Variable(name=name, setting=setting, check=check, era=era, does=does, secret=secret)


def _inert(name: str, era: str, why: str) -> Variable:
    return Variable(name=name, setting=None, check=checks.anything, era=era, does=why, secret=True)


_CONDUCTOR = "there is no Conductor here; recovery across hosts is built into the engine"
_OTLP = "this release exports no OpenTelemetry data"
_CLOUD = "this engine runs in no vendor's cloud"

# fmt: off
VARIABLES: tuple[Variable, ...] = (
    _used("DBOS_SYSTEM_DATABASE_URL", "system_database_url", "1.8+", "as system_database_url", checks.url, secret=True),
    _used("DBOS_DATABASE_URL", "application_database_url", "0.24-2.30", "as database_url", checks.url, secret=True),
    _used("DBOS_DBHOST", "database.hostname", "0.20-1.14", "as database.hostname"),
    _used("DBOS_DBPORT", "database.port", "0.20-1.14", "as database.port", checks.integer(1, 65535)),
    _used("DBOS_DBUSER", "database.username", "0.20-1.14", "as database.username"),
    _used("DBOS_DBPASSWORD", "database.password", "0.20-1.14", "as database.password", secret=True),
    _used("DBOS_DBLOCALSUFFIX", "database.local_suffix", "0.20-0.26", "as database.local_suffix", checks.flag),
    _used("DBOS_APP_NAME", "name", "0.3+", "as name", checks.app_name),
    _used("DBOS__APPVERSION", "application_version", "0.3+", "as application_version"),
    _used("DBOS__VMID", "executor_label", "0.3+", "as executor_id"),
    _used("DBOS__APPID", "application_id", "0.3+", "an id that workflow status shows as app_id"),
    _inert("DBOS__CLOUD", "0.20+", _CLOUD),
    _inert("DBOS_DOMAIN", "0.3+", _CLOUD),
    _inert("DBOS__OTLP_TRACES_ENDPOINT", "2.0+", _OTLP),
    _inert("DBOS__OTLP_LOGS_ENDPOINT", "2.0+", _OTLP),
    _inert("DBOS__CONDUCTOR_APP_NAME", "2.0+", _CONDUCTOR),
    _inert("DBOS__CONDUCTOR_KEY", "2.0+", _CONDUCTOR),
    _inert("DBOS__CONDUCTOR_URL", "2.0+", _CONDUCTOR),
    _inert("DBOS_DEBUG_WORKFLOW_ID", "0.22-2.7", "there is no debug mode here"),
)
# fmt: on


def present(environ: Mapping[str, str]) -> list[tuple[Variable, checks.Substituted]]:
    """The variables that are set. A URL set to nothing is kept, to be warned about; any other is as good as not set."""
    found = [(variable, environ.get(variable.name)) for variable in VARIABLES]
    return [
        (variable, checks.Substituted(value, (variable.name,)))
        for variable, value in found
        if value is not None and (value.strip() or variable.check is checks.url)
    ]
