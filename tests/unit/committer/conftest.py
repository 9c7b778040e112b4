"""A committer in front of a gate."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plugins.committing import FakeDatabase, Users
from pyengine.db.batches import Batch
from pyengine.runtime.committer import Committer


@pytest.fixture(autouse=True)
def plain_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a batch gathers stays readable."""

    def gather(self: Batch[Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"workflow_ids": [row["workflow_id"] for row in rows]}

    monkeypatch.setattr(Batch, "gather", gather)


@pytest.fixture
def database() -> Iterator[FakeDatabase]:
    made = FakeDatabase()
    yield made
    made.open()


@pytest.fixture
def committer(database: FakeDatabase) -> Iterator[Committer]:
    made = Committer(database)  # type: ignore[arg-type]
    yield made
    database.open()
    made.stop()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=300) as pool:
        yield pool


@pytest.fixture
def users(committer: Committer, database: FakeDatabase, threads: ThreadPoolExecutor) -> Users:
    return Users(committer, database, threads)
