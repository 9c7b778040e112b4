"""Every test of the engine ends with the doctor: what a test leaves behind must break no invariant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyengine import DBOS
from pyengine.db.connection import Connection
from pyengine.db.wire import Plan


@pytest.fixture(autouse=True)
def _doctor_finds_nothing(request: pytest.FixtureRequest) -> None:
    # Asked for before the test's other fixtures, so it looks after their teardown and before the database goes.
    if "database_url" in request.fixturenames:
        request.getfixturevalue("healthy")


@pytest.fixture
def launch(database_url: str) -> Iterator[Callable[..., type[DBOS]]]:
    """`launch(**config)`: a DBOS on the test's database, running. Destroyed at the end, and its functions forgotten."""

    def start(**config: Any) -> type[DBOS]:
        DBOS(config={"name": "test-app", "system_database_url": database_url, **config})
        DBOS.launch()
        return DBOS

    DBOS.destroy(destroy_registry=True)
    yield start
    DBOS.destroy(destroy_registry=True)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that this process asks of the database: the names of functions, or what it asked beside them."""
    asked: list[str] = []
    send, execute = Plan.send, Connection.execute

    def called(self: Plan, connection: Connection, values: list[Any]) -> None:
        asked.append(self.function.name)
        send(self, connection, values)

    def executed(self: Connection, query: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(str(query))
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(Plan, "send", called)
    monkeypatch.setattr(Connection, "execute", executed)
    return asked


@pytest.fixture
def dbos(launch: Callable[..., type[DBOS]]) -> type[DBOS]:
    """A running DBOS on the test's database."""
    return launch()
