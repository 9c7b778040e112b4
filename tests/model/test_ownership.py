"""Stories in any order, on the real functions, against a model of who owns what. PYENGINE_SOAK=1: many, and longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis.stateful import run_state_machine_as_test

from model.conftest import is_soak, profile
from model.machine import Fleet, Sessions
from plugins.sessions import Connection


@pytest.mark.timeout(0 if is_soak() else 600)
def test_whatever_happens_everybody_agrees_on_who_owns_what(session_factory: Callable[..., Connection]) -> None:
    sessions = Sessions(session_factory)
    run_state_machine_as_test(lambda: Fleet(sessions), settings=profile())
