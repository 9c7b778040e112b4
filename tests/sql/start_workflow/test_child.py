from __future__ import annotations

from typing import Any

import pytest

from plugins.executors import Executor, Row, in_flight, read, value


def child_of(executor: Executor, step_id: int) -> list[Row]:
    query = "select name, child_id, output from pyengine.checkpoints where workflow_id = 'parent' and step_id = %s"
    return read(executor.connection, query, step_id)


def ids(executor: Executor) -> set[str]:
    both = "select workflow_id from pyengine.workflows union select workflow_id from pyengine.in_flight"
    return {found["workflow_id"] for found in read(executor.connection, both)}


def test_child_and_parents_checkpoint_commit_together(executor: Executor) -> None:
    executor.start("parent", fence=5)
    started = executor.start_child("c", "parent", 5, 0)

    assert started["verdict"] == "yours"
    assert child_of(executor, 0) == [{"name": "child", "child_id": "c", "output": None}]
    assert read(executor.connection, "select parent_id from pyengine.workflows where workflow_id = 'c'") == [
        {"parent_id": "parent"}
    ]


def test_repeat_is_yours_again(executor: Executor) -> None:
    executor.start("parent", fence=5)
    call: dict[str, Any] = {"fence": 6, "start_token": 1}
    executor.start_child("c", "parent", 5, 0, **call)

    assert executor.start_child("c", "parent", 5, 0, **call)["verdict"] == "yours"


def test_step_recorded_for_another_child_leaves_nothing(executor: Executor) -> None:
    executor.start("parent", fence=5)
    executor.checkpoint("parent", 5, 0, name="something")
    started = executor.start_child("c", "parent", 5, 0)

    assert (started["verdict"], started["fence"], started["existing_name"]) == ("unexpected_step", None, "something")
    assert ids(executor) == {"parent"}


def test_lost_parents_claim_leaves_nothing(executor: Executor) -> None:
    executor.start("parent", fence=5)
    started = executor.start_child("c", "parent", 99, 0)

    assert started["verdict"] == "fenced"
    assert ids(executor) == {"parent"}


def test_cancelled_parent_leaves_nothing(executor: Executor) -> None:
    executor.start("parent", fence=5)
    value(executor.connection, "cancel_workflow", workflow_id="parent")

    assert executor.start_child("c", "parent", 5, 0)["verdict"] == "cancelled"
    assert in_flight(executor.connection, "c") is None
    assert ids(executor) == {"parent"}


@pytest.mark.parametrize(("name", "recorded"), [("child", True), ("other", False)])
def test_existing_child_is_adopted_when_it_is_the_same_function(executor: Executor, name: str, recorded: bool) -> None:
    executor.start("parent", fence=5)
    executor.start("c", name="child")
    started = executor.start_child("c", "parent", 5, 0, name=name)

    assert started["verdict"] == "exists"
    assert bool(child_of(executor, 0)) is recorded
