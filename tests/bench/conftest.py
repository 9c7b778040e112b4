"""A stage for cells at a size that says nothing about time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.stage import TINY, Stage, describe


@pytest.fixture(scope="session")
def whole_stage(server_url: str) -> Iterator[Stage]:
    """Schemas are installed once for all tests."""
    about = describe(server_url, TINY, "of the tests")
    with closing(Stage(server_url, TINY, is_own_server=False, about=about)) as made:
        yield made


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    return Stage(whole_stage.url, TINY, False, dict(whole_stage.about), templates=whole_stage.templates)
