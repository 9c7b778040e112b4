"""From a configuration to a running executor, and back to nothing."""

from __future__ import annotations

import os

from ..config import Config
from ..db.database import Database
from ..errors import DBOSInitializationError, DBOSProtocolNotServedError
from ..logs import logger
from ..runtime import app_version, rest, retention, signals, supervision
from ..runtime.database_home import OpenedDatabase, open_database, prepare_database
from ..runtime.executor import Executor
from ..runtime.registry import REGISTRY
from ..serialization import Codec

# The exit code of a program that the schema no longer serves.
EXIT_NOT_SERVED = 3


def start_executor(config: Config) -> tuple[OpenedDatabase, Executor]:
    """Open and prepare the database, then register and launch an executor. Raises DBOSInitializationError; leaves
    nothing behind then.
    """
    if config.database_url is None and not supervision.assignment.is_dev:
        raise DBOSInitializationError(
            "no database is configured: give system_database_url in DBOS(config=...), in dbos-config.yaml or as "
            "DBOS_SYSTEM_DATABASE_URL, or give --sys-db-url. For development, --dev takes the embedded Postgres "
            "of this folder"
        )
    opened = open_database(config)
    try:
        logger.info("Database: %s", opened.description)
        prepared = prepare_database(opened, config)
        if lines := prepared.lines():
            logger.info("Database: %s", "; ".join(lines))
        if not prepared.verdict.served:
            raise SystemExit(EXIT_NOT_SERVED) from DBOSProtocolNotServedError(1, prepared.verdict.oldest_protocol)
        return opened, _launch(opened, config)
    except BaseException:
        opened.release()
        raise


def wants_fleet(config: Config) -> bool:
    """Whether this process starts others to claim; those do not start more."""
    return config.executor_processes is not None and supervision.current is None


def leave(executor: Executor) -> None:
    """End a program that the schema no longer serves: whoever starts it again should start a newer one."""
    executor.hand_back()
    logger.error("The schema no longer serves this engine: the program ends")
    signals.flush_standard_streams()
    os._exit(EXIT_NOT_SERVED)


def _launch(opened: OpenedDatabase, config: Config) -> Executor:
    database = Database(
        opened.url, config.schema, pool_size=config.pool_size, is_pooled=config.is_pooled, revive=opened.revive
    )
    if supervision.current is not None:
        supervision.current.connected(
            supervision.Place(
                opened.url,
                config.schema,
                config.name,
                config.is_pooled,
                config.lease_ttl_seconds,
                config.strict_json,
            )
        )
    executor = Executor(
        database=database,
        registry=REGISTRY,
        codec=Codec(strict=config.strict_json, custom=config.serializer),
        application=config.name,
        app_version=config.application_version or app_version.compute(REGISTRY.versioned_functions(), config.name),
        label=config.executor_label,
        lease_ttl_seconds=config.lease_ttl_seconds,
        max_threads=config.max_executor_threads,
        leave=leave,
        supervision=supervision.current,
        only_queues=supervision.assignment.queues,
        has_fleet=wants_fleet(config),
        notifies=config.notifies,
        keep_for=retention.period(config.retention_days),
        is_deep_idler=config.is_deep_idler,
    )
    try:
        executor.launch()
    except BaseException:
        executor.stop()
        raise
    logger.info("Retention: %s", retention.describe(config.retention_days))
    is_pooled = database.find_pooler()
    if config.is_deep_idler:
        logger.info("Idle: %s", rest.describe(hears=config.notifies and not is_pooled))
    logger.info("Connections: %s", describe_connections(database.pool_size, is_pooled=is_pooled))
    return executor


def describe_connections(pool_size: int, *, is_pooled: bool) -> str:
    """How many connections a process opens."""
    through = "; through a transaction pooler" if is_pooled else ""
    return f"at most {pool_size + 1} ({pool_size} for calls, 1 for the beat), 1 more for a moment at the end{through}"
