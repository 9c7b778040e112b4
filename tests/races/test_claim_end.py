"""What ends a claim: finish, cancel and deadline decide by one DELETE; checkpoints of one step by one key."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from plugins.executors import Executor, in_flight, outcome, read, rows, value
from plugins.sessions import wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]


def status(executor: Executor) -> str | None:
    found = outcome(executor.connection, "w")
    return None if found is None else found["status"]


def test_cancel_before_finish(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, owner, user = (new_executor() for _ in range(3))
    owner.start("w", fence=5)
    user.connection.autocommit = False
    rows(user.connection, "cancel_workflow", workflow_id="w")
    finish = in_background(owner.finish, "w", 5)
    wait_until_blocked(observer.connection, owner.connection, by=user.connection)
    user.connection.commit()

    assert finish.result(10) == "cancelled"
    assert status(observer) == "CANCELLED"


def test_finish_before_cancel(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, owner, user = (new_executor() for _ in range(3))
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    owner.finish("w", 5)
    cancel = in_background(value, user.connection, "cancel_workflow", workflow_id="w")
    wait_until_blocked(observer.connection, user.connection, by=owner.connection)
    owner.connection.commit()

    assert cancel.result(10) == "finished"
    assert status(observer) == "SUCCESS"


def test_deadline_before_finish(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, owner, keeper = (new_executor() for _ in range(3))
    owner.start("w", fence=5, deadline="2000-01-01")
    keeper.connection.autocommit = False
    assert value(keeper.connection, "expire_deadlines", limit=10) == 1
    finish = in_background(owner.finish, "w", 5)
    wait_until_blocked(observer.connection, owner.connection, by=keeper.connection)
    keeper.connection.commit()

    assert finish.result(10) == "cancelled"


def test_deadline_passes_over_a_row_that_is_being_finished(new_executor: NewExecutor) -> None:
    owner, keeper = new_executor(), new_executor()
    owner.start("w", fence=5, deadline="2000-01-01")
    owner.connection.autocommit = False
    owner.finish("w", 5)

    assert value(keeper.connection, "expire_deadlines", limit=10) == 0
    owner.connection.commit()
    assert value(keeper.connection, "expire_deadlines", limit=10) == 0
    assert status(keeper) == "SUCCESS"


def test_late_original_and_repeat_of_a_finish(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, owner, repeat = (new_executor() for _ in range(3))
    owner.start("w", fence=5)
    repeat.id, repeat.nonce = owner.id, owner.nonce
    owner.connection.autocommit = False
    owner.finish("w", 5)
    again = in_background(repeat.finish, "w", 5)
    wait_until_blocked(observer.connection, repeat.connection, by=owner.connection)
    owner.connection.commit()

    assert again.result(10) == "ok"
    assert in_flight(observer.connection, "w") is None


def test_two_writers_of_one_step_agree_on_the_first(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, owner, repeat = (new_executor() for _ in range(3))
    owner.start("w", fence=5)
    repeat.id, repeat.nonce = owner.id, owner.nonce
    owner.connection.autocommit = False
    owner.checkpoint("w", 5, 0, output=b"first")
    again = in_background(repeat.checkpoint, "w", 5, 0, output=b"second")
    wait_until_blocked(observer.connection, repeat.connection, by=owner.connection)
    owner.connection.commit()

    assert again.result(10)["verdict"] == "existing"
    assert again.result(10)["output"] == b"first"


def test_second_writer_stores_when_the_first_rolls_back(new_executor: NewExecutor, in_background: InBackground) -> None:
    observer, owner, repeat = (new_executor() for _ in range(3))
    owner.start("w", fence=5)
    repeat.id, repeat.nonce = owner.id, owner.nonce
    owner.connection.autocommit = False
    owner.checkpoint("w", 5, 0, output=b"first")
    again = in_background(repeat.checkpoint, "w", 5, 0, output=b"second")
    wait_until_blocked(observer.connection, repeat.connection, by=owner.connection)
    owner.connection.rollback()

    assert again.result(10)["verdict"] == "stored"
    assert read(observer.connection, "select output from pyengine.checkpoints") == [{"output": b"second"}]


def test_checkpoint_neither_waits_for_a_cancellation_nor_undoes_it(new_executor: NewExecutor) -> None:
    owner, user = new_executor(), new_executor()
    owner.start("w", fence=5)
    user.connection.autocommit = False
    rows(user.connection, "cancel_workflow", workflow_id="w")

    assert owner.checkpoint("w", 5, 0)["verdict"] == "stored"
    user.connection.commit()
    assert owner.checkpoint("w", 5, 1)["verdict"] == "cancelled"
    assert status(owner) == "CANCELLED"


def test_two_children_of_one_step(new_executor: NewExecutor, in_background: InBackground) -> None:
    """One step starts two different children at once (not deterministic): the second leaves nothing."""
    observer, owner, twin = (new_executor() for _ in range(3))
    owner.start("w", fence=5)
    twin.id, twin.nonce = owner.id, owner.nonce
    owner.connection.autocommit = False
    owner.start_child("a", "w", 5, 0)
    second = in_background(twin.start_child, "b", "w", 5, 0)
    wait_until_blocked(observer.connection, twin.connection, by=owner.connection)
    owner.connection.commit()

    assert second.result(10)["verdict"] == "unexpected_step"
    found = read(observer.connection, "select workflow_id from pyengine.workflows order by workflow_id")
    assert [header["workflow_id"] for header in found] == ["a", "w"]
