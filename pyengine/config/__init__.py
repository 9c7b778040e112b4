"""Configuration of every era: one `resolve()` out of argument, command line, environment and file."""

from __future__ import annotations

from pyengine.config.legacy import get_dbos_database_url, load_config
from pyengine.config.model import Config, ConfigFile, DBOSConfig
from pyengine.config.resolver import resolve

__all__ = ["Config", "ConfigFile", "DBOSConfig", "get_dbos_database_url", "load_config", "resolve"]
