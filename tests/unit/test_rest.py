"""The gate of an executor that rests: who comes first, and who waits for whom."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from plugins.sessions import wait_until
from pyengine.db import calls
from pyengine.runtime import rest
from pyengine.runtime.rest import Gate


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setattr(rest, "QUIET_SECONDS", 0.0)
    return Gate()


def passes(gate: Gate) -> threading.Event:
    """Once somebody on another thread is through."""
    is_through = threading.Event()

    def go() -> None:
        with gate(calls.start_workflow):
            is_through.set()

    threading.Thread(target=go, daemon=True).start()
    return is_through


def test_it_is_not_shut_while_somebody_is_on_the_way(gate: Gate) -> None:
    with gate(calls.start_workflow):
        assert not gate.shut()
    assert gate.shut()


def test_who_comes_to_a_shut_gate_asks_and_waits_until_it_is_opened(gate: Gate) -> None:
    asked = threading.Event()
    gate.on_wanted = asked.set
    assert gate.shut()
    is_through = passes(gate)
    assert asked.wait(30)
    assert gate.is_wanted
    assert not is_through.is_set()

    gate.open()
    assert is_through.wait(30)
    wait_until(lambda: not gate.is_wanted, what="nobody at the gate")


def test_at_the_end_nobody_waits_and_it_is_never_shut_again(gate: Gate) -> None:
    assert gate.shut()
    is_through = passes(gate)
    gate.end()

    assert is_through.wait(30)
    assert not gate.shut()


def test_acts_break_the_quiet_and_claims_that_are_polled_for_do_not(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(rest, "QUIET_SECONDS", 60.0)
    monkeypatch.setattr(rest, "time", SimpleNamespace(monotonic=lambda: now[0]))
    gate.act()
    now[0] = 59.0
    assert not gate.shut()
    with gate(calls.claim_workflows):
        pass
    now[0] = 60.0
    assert gate.shut()
    gate.open()

    with gate(calls.enqueue_workflow):
        pass
    now[0] = 119.0
    assert not gate.shut()
    now[0] = 120.0
    assert gate.shut()


def test_an_act_that_fails_is_one_all_the_same(gate: Gate) -> None:
    with pytest.raises(KeyError), gate(calls.start_workflow):
        raise KeyError
    assert gate.shut()
