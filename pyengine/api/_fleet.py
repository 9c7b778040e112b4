"""`executor_processes`: what a program tells the fleet that it starts, so that both mean the same work."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import Config
from ..errors import DBOSInitializationError
from ..logs import logger
from ..runtime.executor import Executor
from ..runtime.fleet import Fleet
from ..runtime.registry import Registry

_GRACE_SECONDS = 25.0


def start_fleet(config: Config, executor: Executor, processes: int) -> Fleet:
    targets = _modules(executor.registry)
    logger.info("Starting %d executor process(es) for %s", processes, ", ".join(targets) or "nothing yet")
    return Fleet(
        {
            "targets": targets,
            "processes": processes,
            "database_url": config.database_url,
            "is_dev": True,  # the program found its database; this is the same one
            "grace_seconds": _GRACE_SECONDS,
            "config": _configuration(config, executor),
            "declared": [asdict(queue) for queue in executor.registry.queues.values()],
        }
    )


def _configuration(config: Config, executor: Executor) -> dict[str, Any]:
    """It goes before what the modules say. The version is the program's, also where a module declares more when it is
    the main one.
    """
    told = {
        "name": config.name,
        "application_version": executor.app_version,
        "dbos_system_schema": config.schema,
        "sys_db_pool_size": config.pool_size,
        "executor_id": config.executor_label,
        "max_executor_threads": config.max_executor_threads,
        "lease_ttl_seconds": config.lease_ttl_seconds,
        "retention_days": config.retention_days,
        "idle": "deep" if config.is_deep_idler else None,
        "strict_json": config.strict_json,
        "log_level": config.log_level,
        "console_log_level": config.console_log_level,
        "run_migrations": False,  # the program has done it
    }
    return {key: value for key, value in told.items() if value is not None}


def _modules(registry: Registry) -> list[str]:
    """Those that declared workflows, the main one by its file: importing it runs nothing under its main guard."""
    names = dict.fromkeys(spec.function.__module__ for spec in list(registry.workflows.values()))
    return [_target(name) for name in names if not name.startswith("pyengine.")]


def _target(name: str) -> str:
    if name != "__main__":
        return name
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # python -m
        return main.__spec__.name
    file = getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():
        raise DBOSInitializationError(
            "executor_processes needs the workflows in a module or a file: other processes cannot import what was "
            "typed in here"
        )
    return str(Path(file).resolve())
