"""Every fixture lives in a plugin named after what it provides."""

from __future__ import annotations

pytest_plugins = [
    "plugins.server",
    "plugins.database",
    "plugins.sessions",
    "plugins.clock",
    "plugins.executors",
    "plugins.flavours",
    "plugins.processes",
    "plugins.fleet",
    "plugins.outage",
]
