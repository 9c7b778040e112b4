"""Deleting the engine's data."""

from __future__ import annotations

from .. import schema as installer
from ..config import Config, urls
from ..runtime.database_home import open_database


def reset(config: Config, *, system_database_url: str | None, schema: str | None) -> list[str]:
    """Drop the database if the engine created it, else only its schema. Returns what was done, a line each."""
    if system_database_url is not None:
        return list(installer.reset(urls.normalise(system_database_url), schema or config.schema, yes=True))
    opened = open_database(config)
    try:
        return list(installer.reset(opened.url, schema or config.schema, yes=True))
    finally:
        opened.release()
