"""Functions of early releases that read the file for the application itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from pyengine.config import file
from pyengine.config.model import ConfigFile
from pyengine.config.notes import announcer
from pyengine.config.resolver import resolve
from pyengine.errors import DBOSInitializationError


def load_config(
    config_file_path: str = file.FILE_NAME,
    run_process_config: bool = True,
    use_db_wizard: bool = True,
    silent: bool = False,
) -> ConfigFile:
    """Return the contents of the file, with references to the environment replaced.

    `run_process_config` and `use_db_wizard` change nothing: defaults are applied by `DBOS()`, and there is no wizard.
    """
    path = Path(config_file_path)
    if not path.exists():
        raise FileNotFoundError(f"There is no configuration file {config_file_path}")
    read = file.read(path, os.environ)
    if not silent:
        announcer.announce(read.notes)
    return cast(ConfigFile, _plain(read.content))


def get_dbos_database_url(config_file_path: str = file.FILE_NAME) -> str:
    """Return the application's database URL in the form SQLAlchemy takes with psycopg, for Alembic and the like."""
    path = Path(config_file_path)
    if not path.exists():
        raise FileNotFoundError(f"There is no configuration file {config_file_path}")
    config = resolve(config_file=path)
    url = config.application_database_url or config.database_url
    if url is None:
        raise DBOSInitializationError(
            f"{config_file_path} names no database, and the embedded one has an address only while it runs"
        )
    return "postgresql+psycopg://" + url.removeprefix("postgresql://")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
