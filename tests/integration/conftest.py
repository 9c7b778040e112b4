"""Every test of the engine ends with the doctor: what a test leaves behind must break no invariant."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _doctor_finds_nothing(request: pytest.FixtureRequest) -> None:
    # Asked for before the test's other fixtures, so it looks after their teardown and before the database goes.
    if "database_url" in request.fixturenames:
        request.getfixturevalue("healthy")
