"""Two starts of one workflow id at once: one runs it, whoever comes first and however the first one ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from plugins.executors import Executor, in_flight
from plugins.sessions import wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]


@pytest.mark.parametrize("same_token", [True, False])
def test_second_waits_and_is_told_what_the_first_did(
    new_executor: NewExecutor, in_background: InBackground, same_token: bool
) -> None:
    observer, first = new_executor(), new_executor()
    second = Executor(new_executor().connection)
    first.connection.autocommit = False
    assert first.start("w", fence=5, start_token=1)["verdict"] == "yours"
    if same_token:
        second.id, second.nonce = first.id, first.nonce
    late = in_background(second.start, "w", fence=5, start_token=1 if same_token else 2)
    wait_until_blocked(observer.connection, second.connection, by=first.connection)
    first.connection.commit()

    assert late.result(10)["verdict"] == ("yours" if same_token else "exists")


def test_second_runs_it_when_the_first_rolls_back(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, first, second = new_executor(), new_executor(), new_executor()
    first.connection.autocommit = False
    first.start("w")
    late = in_background(second.start, "w", fence=6)
    wait_until_blocked(observer.connection, second.connection, by=first.connection)
    first.connection.rollback()

    assert late.result(10)["verdict"] == "yours"
    stored = in_flight(observer.connection, "w")
    assert stored is not None
    assert (stored["executor_id"], stored["fence"]) == (second.id, 6)


def test_late_original_and_repeat_of_a_registration(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, first, second = new_executor(), new_executor(), new_executor()
    first.connection.autocommit = False
    registered = Executor(first.connection, nonce=1)
    late = in_background(Executor, second.connection, nonce=1)
    wait_until_blocked(observer.connection, second.connection, by=first.connection)
    first.connection.commit()

    assert late.result(10).id == registered.id
