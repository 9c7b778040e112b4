"""A private Postgres for a project without a database URL, shared by its processes and stopped after the last one."""

from __future__ import annotations

from .home import find_home
from .server import EmbeddedServer, EmbeddedUnavailable, remove, start

__all__ = ["EmbeddedServer", "EmbeddedUnavailable", "find_home", "remove", "start"]
