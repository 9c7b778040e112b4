"""A resume against the run that was cancelled: nothing of it lands once the workflow is runnable again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from plugins.executors import Executor, in_flight, read
from plugins.queueing import cancel, claim, resume
from plugins.sessions import Connection, wait_until_blocked

NewExecutor = Callable[..., Executor]
InBackground = Callable[..., Future[Any]]
NewSession = Callable[..., Connection]
INTERNAL = "_dbos_internal_queue"


def test_a_checkpoint_in_flight_lands_before_the_resume(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    owner, user, observer = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    owner.connection.autocommit = False
    assert owner.checkpoint("w", 5, 1)["verdict"] == "stored"
    assert cancel(user, "w") == "cancelled"
    resumed = in_background(resume, user, "w")
    wait_until_blocked(observer, user, by=owner.connection)
    assert in_flight(observer, "w") is None
    owner.connection.commit()

    assert resumed.result(10) == "resumed"
    assert len(read(observer, "select * from pyengine.checkpoints")) == 1


def test_a_checkpoint_after_the_resume_is_refused(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    owner, user, observer = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    cancel(user, "w")
    user.autocommit = False
    resume(user, "w")
    late = in_background(owner.checkpoint, "w", 5, 1)
    wait_until_blocked(observer, owner.connection, by=user)
    user.commit()

    assert late.result(10)["verdict"] == "fenced"
    assert read(observer, "select * from pyengine.checkpoints") == []


def test_a_finish_after_the_resume_is_refused_even_when_the_same_executor_claims_it(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    owner, user, observer = new_executor(), session_factory(), session_factory()
    owner.start("w", fence=5)
    cancel(user, "w")
    user.autocommit = False
    resume(user, "w")
    late = in_background(owner.finish, "w", 5)
    wait_until_blocked(observer, owner.connection, by=user)
    user.commit()

    assert late.result(10) == "fenced"
    assert claim(owner, INTERNAL, fence=6) == ["w"]
    assert (owner.finish("w", 5), owner.finish("w", 6)) == ("fenced", "ok")


def test_cancel_waits_for_a_resume_and_ends_it_again(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    owner, user, other, observer = new_executor(), session_factory(), session_factory(), session_factory()
    owner.start("w", fence=5)
    cancel(user, "w")
    user.autocommit = False
    resume(user, "w")
    # It sees the outcome that the resume is about to remove: cancelled is cancelled.
    meanwhile = cancel(other, "w")
    user.commit()

    assert (meanwhile, cancel(other, "w")) == ("finished", "cancelled")
    assert in_flight(observer, "w") is None
