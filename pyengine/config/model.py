"""What the rest of the engine sees of the configuration, and what users write."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from pyengine.config.notes import Note
from pyengine.config.redaction import redact

DEFAULT_SCHEMA = "pyengine"
DEFAULT_EXECUTOR_LABEL = "local"
DEFAULT_LEASE_TTL_SECONDS = 15.0
DEFAULT_RETENTION_DAYS = 30.0
# Few connections do: what threads and tasks want written shares commits, so a wider pool only costs the server memory.
DEFAULT_POOL_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class Config:
    """The configuration in force. URLs are left out of `repr`, because they carry passwords."""

    name: str
    database_url: str | None = field(default=None, repr=False)
    """A URI for libpq; None: the embedded Postgres."""
    database_source: str = "embedded"
    database_name: str
    """The database to work in; for the embedded Postgres the one to create."""
    application_database_url: str | None = field(default=None, repr=False)
    """The application's own database where one was configured beside the engine's."""
    schema: str = DEFAULT_SCHEMA
    pool_size: int = DEFAULT_POOL_SIZE
    is_pooled: bool | None = None
    """Whether a transaction pooler is in between; None: that is found out."""
    notifies: bool = True
    """Processes tell each other of work."""
    run_migrations: bool = True
    application_version: str | None = None
    application_id: str = ""
    executor_label: str = DEFAULT_EXECUTOR_LABEL
    max_executor_threads: int | None = None
    """None: the engine's own default."""
    lease_ttl_seconds: float = DEFAULT_LEASE_TTL_SECONDS
    retention_days: float = DEFAULT_RETENTION_DAYS
    """How long what has finished is kept; 0: for ever."""
    is_deep_idler: bool = False
    """Without work it makes one call a minute, not one a second."""
    executor_processes: int | None = None
    """None: what is enqueued runs in this process."""
    serializer: Any = None
    strict_json: bool = False
    log_level: int = logging.INFO
    console_log_level: int | None = None
    """None: the same as `log_level`."""
    start_commands: tuple[str, ...] = ()
    migrate_commands: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables the file asks for."""
    config_file: Path | None = None
    notes: tuple[Note, ...] = field(default=(), repr=False)

    @property
    def redacted_url(self) -> str | None:
        """The database URL as it may be shown."""
        return None if self.database_url is None else redact(self.database_url)


class DBOSConfig(TypedDict, total=False):
    """Configuration of `DBOS(config=...)`: the keys of every era, all optional.

    What each does, and which do nothing here, is listed in `docs/reference/configuration.md`.
    """

    name: str
    system_database_url: str | None
    system_database_engine: Any
    database_url: str | None
    application_database_url: str | None
    sys_db_name: str | None
    dbos_system_schema: str | None
    sys_db_pool_size: int | None
    transaction_pooler: bool | None
    app_db_pool_size: int | None
    sys_db_polling_concurrency: int | None
    sys_db_idle_transaction_timeout_sec: float | None
    observability_query_timeout_sec: float | None
    db_engine_kwargs: dict[str, Any] | None
    use_listen_notify: bool | None
    run_migrations: bool | None
    sharding: bool | None
    application_version: str | None
    executor_id: str | None
    enable_patching: bool | None
    max_executor_threads: int | None
    serializer: Any
    strict_json: bool | None
    lease_ttl_seconds: float | None
    retention_days: float | None
    idle: str | None
    executor_processes: int | None
    notification_listener_polling_interval_sec: float | None
    notification_coalesce_sec: float | None
    scheduler_polling_interval_sec: float | None
    kafka_queue_polling_interval_sec: float | None
    log_level: str | int | None
    console_log_level: str | int | None
    otlp_log_level: str | int | None
    enable_otlp: bool | None
    disable_otlp: bool | None
    otlp_traces_endpoints: list[str] | None
    otlp_logs_endpoints: list[str] | None
    otlp_attributes: dict[str, Any] | None
    otel_attribute_format: str | None
    admin_port: int | None
    run_admin_server: bool | None
    conductor_key: str | None
    conductor_url: str | None
    conductor_executor_metadata: dict[str, Any] | None
    conductor_metadata_only_mode: bool | None
    transact_enterprise_key: str | None
    auto_upgrade: bool | None
    auto_upgrade_interval_sec: float | None
    auto_upgrade_grace_sec: float | None


class ConfigFile(TypedDict, total=False):
    """The nested form of older releases: the contents of `dbos-config.yaml`, also accepted as `config=`."""

    name: str
    language: str
    system_database_url: str | None
    database_url: str | None
    database: dict[str, Any]
    runtimeConfig: dict[str, Any]
    telemetry: dict[str, Any] | None
    env: dict[str, str]
    application: dict[str, Any]
