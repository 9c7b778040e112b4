"""Every fixture lives in a plugin named after what it provides."""

from __future__ import annotations

from pathlib import Path

import pytest

# Folders whose tests run several processes against the clock. A machine that stands still for seconds can fail one of
# them; a second failure is none of the machine's. The closing line counts the repeats. What is decided by locks alone
# has one try.
AGAINST_THE_CLOCK = {"bench", "e2e", "embedded", "fleet", "integration", "packaging"}

pytest_plugins = [
    "plugins.server",
    "plugins.database",
    "plugins.sessions",
    "plugins.clock",
    "plugins.executors",
    "plugins.flavours",
    "plugins.processes",
    "plugins.fleet",
    "plugins.gate",
    "plugins.outage",
    "plugins.pgbouncer",
    "plugins.links",
    "plugins.replication",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in AGAINST_THE_CLOCK:
            item.add_marker(pytest.mark.flaky(reruns=1))
