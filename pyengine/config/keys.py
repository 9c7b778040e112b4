"""Every configuration key any era had: what it does here, or why it does nothing here.

The same keys are accepted in `DBOSConfig`, in the nested form of older releases, and in `dbos-config.yaml`; nested ones
are written with dots here. Later releases of the engine turn inert keys into used ones, never into errors.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from pyengine.config import checks

FILE, DICT, BOTH, OWN = "file", "dict", "both", "own"


@dataclass(frozen=True, kw_only=True)
class Key:
    path: str
    setting: str
    check: checks.Check
    era: str
    home: str
    does: str
    used: bool
    quiet: tuple[Any, ...] = ()
    secret: bool = False

    @property
    def section(self) -> str:
        return self.path.rpartition(".")[0]


def _used(
    path: str, check: checks.Check, era: str, home: str, does: str, *, setting: str | None = None, secret: bool = False
) -> Key:
    return Key(path=path, setting=setting or path, check=check, era=era, home=home, does=does, used=True, secret=secret)


def _inert(
    path: str,
    check: checks.Check,
    era: str,
    home: str,
    why: str,
    *,
    quiet: tuple[Any, ...] = (),
    secret: bool = False,
) -> Key:
    """A key without effect; `quiet` lists values that ask for what happens anyway, about which nothing is said."""
    return Key(
        path=path, setting=path, check=check, era=era, home=home, does=why, used=False, quiet=quiet, secret=secret
    )


_ENGINE_URL = "the database the engine works in"
_APP_URL = "the application's own database; also the engine's where no system_database_url is given"
_ADMIN = "this release has no admin server"
_OTLP = "this release exports no OpenTelemetry data"
_CONDUCTOR = "there is no Conductor here; recovery across hosts is built into the engine"
_ENTERPRISE = "nothing here needs a license"
_UPGRADE = "this release does not move workflows to newer versions"
_NO_POOL = "the engine does not open this pool"
_TICK = "the engine polls on its own tick, with back-off"
_TYPESCRIPT = "it configures TypeScript applications"
_SERVER = "of the database server"

# fmt: off
KEYS: tuple[Key, ...] = (
    _used("name", checks.app_name, "0.3+", BOTH, "the application's name; default: the folder's, made valid"),
    # The database
    _used("system_database_url", checks.url, "1.8+", BOTH, _ENGINE_URL, secret=True),
    _used("system_database_engine", checks.engine, "2.0+", DICT, f"its URL is {_ENGINE_URL}; its pool is not used"),
    _used("database_url", checks.url, "0.24-2.30", BOTH, _APP_URL, setting="application_database_url", secret=True),
    _used("application_database_url", checks.url, "1.13-2.30", DICT, _APP_URL, secret=True),
    _used("sys_db_name", checks.text, "0.24-1.14", DICT, "replaces the database name in an application database URL"),
    _used("dbos_system_schema", checks.schema_name, "2.0+", BOTH, "the schema of the engine; default: pyengine"),
    _used(
        "sys_db_pool_size",
        checks.integer(1),
        "0.24+",
        DICT,
        "how many connections the engine opens at most",
        setting="pool_size",
    ),
    _used(
        "transaction_pooler",
        checks.flag,
        "own",
        OWN,
        "whether connections go through a transaction pooler such as PgBouncer; default: it is found out",
    ),
    _used(
        "db_engine_kwargs",
        checks.mapping,
        "0.27+",
        DICT,
        "its pool_size and the connection options in its connect_args are used; the rest is SQLAlchemy's",
    ),
    _used("use_listen_notify", checks.flag, "2.8+", DICT, "false: processes do not tell each other of work, all poll"),
    _used("run_migrations", checks.flag, "2.30+", DICT, "false: only check the schema at launch"),
    _inert("app_db_pool_size", checks.integer(0), "0.24-0.27", DICT, _NO_POOL),
    _inert("sys_db_polling_concurrency", checks.integer(1), "2.27+", DICT, _TICK),
    _inert(
        "sys_db_idle_transaction_timeout_sec",
        checks.number(0),
        "3.x",
        DICT,
        "the engine leaves no transaction open between calls",
    ),
    _inert("observability_query_timeout_sec", checks.number(0), "3.x", DICT, "reads use the server's own timeouts"),
    _inert("sharding", checks.flag, "3.x", DICT, "the engine works in one database", quiet=(False,)),
    # Running
    _used(
        "application_version", checks.text, "1.10+", DICT, "the version of the code; default: a hash of the workflows"
    ),
    _used(
        "executor_id",
        checks.text,
        "1.10+",
        DICT,
        "a label for this process in status and logs, no identity",
        setting="executor_label",
    ),
    _used(
        "enable_patching", checks.flag, "2.7+", DICT, "true: pins the version PATCHING_ENABLED unless one is configured"
    ),
    _used("max_executor_threads", checks.integer(1), "2.11+", DICT, "how many threads run sync workflows and steps"),
    _used("serializer", checks.serializer, "2.2+", DICT, "the application's own serializer for inputs and results"),
    _used("strict_json", checks.flag, "own", OWN, "true: refuses pickle; only what JSON keeps without loss is stored"),
    _used(
        "lease_ttl_seconds",
        checks.number(1),
        "own",
        OWN,
        "how long this process may be silent before others take its work over; default 15",
    ),
    _used(
        "retention_days",
        checks.number(0),
        "own",
        OWN,
        "how many days finished workflows are kept, of this application; default 30; 0: for ever",
    ),
    _used(
        "idle",
        checks.choice("normal", "deep"),
        "own",
        OWN,
        "deep: after a minute without work a process makes one call a minute and polls nothing; default normal",
    ),
    _used(
        "executor_processes",
        checks.integer(1),
        "own",
        OWN,
        "so many processes, started at launch, run what is enqueued; this one runs only what it calls or starts itself",
    ),
    _inert("notification_listener_polling_interval_sec", checks.number(0.001), "2.11+", DICT, _TICK),
    _inert(
        "notification_coalesce_sec", checks.number(0), "2.28+", DICT, "the engine coalesces notifications by itself"
    ),
    _inert("scheduler_polling_interval_sec", checks.number(0), "2.13+", DICT, "schedules fire from the engine's tick"),
    _inert("kafka_queue_polling_interval_sec", checks.number(0), "2.28+", DICT, "this release has no Kafka consumers"),
    # Logs and telemetry
    _used("log_level", checks.level, "0.24+", DICT, "the level of DBOS.logger; default: INFO"),
    _used("console_log_level", checks.level, "2.11+", DICT, "the level on the console where that differs"),
    _inert("otlp_log_level", checks.level, "2.11+", DICT, _OTLP),
    _inert("enable_otlp", checks.flag, "2.0+", DICT, _OTLP, quiet=(False,)),
    _inert("disable_otlp", checks.flag, "1.13-1.14", DICT, _OTLP, quiet=(True,)),
    _inert("otlp_traces_endpoints", checks.strings, "0.24+", DICT, _OTLP, quiet=((),)),
    _inert("otlp_logs_endpoints", checks.strings, "0.24+", DICT, _OTLP, quiet=((),)),
    _inert("otlp_attributes", checks.mapping, "1.5+", DICT, _OTLP, quiet=({},)),
    _inert("otel_attribute_format", checks.choice("legacy", "semconv"), "2.22+", DICT, _OTLP),
    # What the peer sells, or has given up
    _inert("admin_port", checks.integer(0, 65535), "0.24-2.30", DICT, _ADMIN),
    _inert("run_admin_server", checks.flag, "0.24-2.30", DICT, _ADMIN, quiet=(False,)),
    _inert("conductor_key", checks.text, "2.0+", DICT, _CONDUCTOR, secret=True),
    _inert("conductor_url", checks.text, "2.6+", DICT, _CONDUCTOR, secret=True),
    _inert("conductor_executor_metadata", checks.anything, "2.16+", DICT, _CONDUCTOR),
    _inert("conductor_metadata_only_mode", checks.flag, "3.x", DICT, _CONDUCTOR, quiet=(False,)),
    _inert("transact_enterprise_key", checks.text, "3.x", DICT, _ENTERPRISE, secret=True),
    _inert("auto_upgrade", checks.flag, "3.x", DICT, _UPGRADE, quiet=(False,)),
    _inert("auto_upgrade_interval_sec", checks.number(0), "3.x", DICT, _UPGRADE),
    _inert("auto_upgrade_grace_sec", checks.number(0), "3.x", DICT, _UPGRADE),
    # The nested form of dbos-config.yaml
    _used(
        "language",
        checks.choice("python", "typescript", "javascript", "go", "java"),
        "0.3+",
        FILE,
        "python; a file for another language is refused",
    ),
    _used("env", checks.variables, "0.3+", FILE, "environment variables to set in the application's process"),
    _inert("application", checks.anything, "0.3-0.23", FILE, "it is the application's own; load_config() returns it"),
    _inert("version", checks.anything, "0.3-1.14", FILE, "it was deprecated in every release"),
    _used("runtimeConfig.start", checks.strings, "0.3+", FILE, "the commands of `start`", setting="start_commands"),
    _inert(
        "runtimeConfig.setup", checks.strings, "0.20+", FILE, "a vendor's cloud ran it; prepare the host yourself",
        quiet=((),),
    ),
    _inert("runtimeConfig.admin_port", checks.integer(0, 65535), "0.20-2.30", FILE, _ADMIN),
    _inert("runtimeConfig.run_admin_server", checks.flag, "0.24-2.30", FILE, _ADMIN, quiet=(False,)),
    _inert("runtimeConfig.entrypoints", checks.strings, "0.3+", FILE, _TYPESCRIPT),
    _inert("runtimeConfig.port", checks.integer(0, 65535), "0.3+", FILE, "the start command chooses its port"),
    _used("database.hostname", checks.text, "0.3-1.14", FILE, f"the host {_SERVER}; default: localhost"),
    _used("database.port", checks.integer(1, 65535), "0.3-1.14", FILE, f"the port {_SERVER}; default: 5432"),
    _used("database.username", checks.text, "0.3-1.14", FILE, "the role to connect as; default: postgres"),
    _used(
        "database.password",
        checks.secret,
        "0.3-1.14",
        FILE,
        "its password; default: PGPASSWORD or the password file, as libpq does",
        secret=True,
    ),
    _used("database.app_db_name", checks.text, "0.3-1.14", FILE, "the database's name; default: made from the name"),
    _used("database.sys_db_name", checks.text, "0.3-1.14", FILE, "replaces the database name", setting="sys_db_name"),
    _used("database.ssl", checks.flag, "0.3-1.14", FILE, "true: sslmode=require; false: sslmode=disable"),
    _used("database.ssl_ca", checks.text, "0.3-1.14", FILE, "a root certificate: sslmode=verify-full"),
    _used("database.connectionTimeoutMillis", checks.integer(0), "0.3-1.14", FILE, "connect_timeout, rounded up"),
    _used("database.local_suffix", checks.flag, "0.10-0.26", FILE, "true: adds _local to app_db_name"),
    _used(
        "database.migrate",
        checks.strings,
        "0.3+",
        FILE,
        "commands `migrate` runs after its own work",
        setting="migrate_commands",
    ),
    _used("database.sys_db_pool_size", checks.integer(1), "0.24+", FILE, "as sys_db_pool_size", setting="pool_size"),
    _used(
        "database.db_engine_kwargs", checks.mapping, "0.27+", FILE, "as db_engine_kwargs", setting="db_engine_kwargs"
    ),
    _inert("database.sys_db_engine_kwargs", checks.mapping, "0.27+", FILE, _NO_POOL),
    _inert("database.app_db_pool_size", checks.integer(0), "0.24-0.27", FILE, _NO_POOL),
    _inert("database.rollback", checks.strings, "0.3-2.30", FILE, "migrations are not rolled back", quiet=((),)),
    _inert("database.app_db_client", checks.text, "0.3-0.20", FILE, _TYPESCRIPT),
    _used("telemetry.logs.logLevel", checks.level, "0.3+", FILE, "as log_level", setting="log_level"),
    _inert("telemetry.logs.addContextMetadata", checks.flag, "0.3+", FILE, "ids are in the message where they matter"),
    _inert("telemetry.logs.silent", checks.flag, "0.3+", FILE, "set a log level instead", quiet=(False,)),
    _inert("telemetry.OTLPExporter.logsEndpoint", checks.strings, "0.3+", FILE, _OTLP, quiet=((),)),
    _inert("telemetry.OTLPExporter.tracesEndpoint", checks.strings, "0.3+", FILE, _OTLP, quiet=((),)),
    _inert("telemetry.otlp_attributes", checks.mapping, "1.5+", FILE, _OTLP, quiet=({},)),
    _inert("telemetry.disable_otlp", checks.flag, "1.13+", FILE, _OTLP, quiet=(True,)),
    _inert("http.cors_middleware", checks.flag, "0.3+", FILE, _TYPESCRIPT),
    _inert("http.credentials", checks.flag, "0.3+", FILE, _TYPESCRIPT),
    _inert("http.allowed_origins", checks.strings, "0.3+", FILE, _TYPESCRIPT),
)
# fmt: on

BY_PATH: dict[str, Key] = {key.path: key for key in KEYS}
SECTIONS: frozenset[str] = frozenset(
    section for key in KEYS for section in (key.section, key.section.rpartition(".")[0]) if section
)


def nearest(path: str) -> str:
    """The known key that looks most like `path`; its section counts, but less than the last word."""
    word = path.rpartition(".")[2].lower()

    def likeness(candidate: str) -> tuple[float, float]:
        last = candidate.rpartition(".")[2].lower()
        return (
            difflib.SequenceMatcher(None, word, last).ratio(),
            difflib.SequenceMatcher(None, path.lower(), candidate.lower()).ratio(),
        )

    return max(sorted({*BY_PATH, *SECTIONS}), key=likeness)
