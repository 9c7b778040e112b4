"""A resume against the run that was cancelled: nothing of it lands once the workflow is runnable again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from plugins.clock import Clock
from plugins.executors import Executor, in_flight, read
from plugins.queueing import cancel, claim, enqueue, resume
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


def takeover_of(new_executor: NewExecutor) -> tuple[Executor, Executor]:
    """Somebody dead whose one workflow was cancelled and whose other one is to be taken over, and who does that."""
    old, new = new_executor(), new_executor()
    old.start("w", fence=5)
    old.start("other", fence=6)
    cancel(old.connection, "w")
    old.retire()
    return old, new


def test_takeover_before_resume(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    old, new = takeover_of(new_executor)
    user, observer = session_factory(), session_factory()
    new.connection.autocommit = False
    assert new.take_over(old) == (1, 0, False)
    resumed = in_background(resume, user, "w")
    wait_until_blocked(observer, user, by=new.connection)
    new.connection.commit()

    assert resumed.result(10) == "resumed"
    new.connection.autocommit = True
    assert sorted(claim(new, INTERNAL)) == ["other", "w"]


def test_resume_before_takeover(
    new_executor: NewExecutor, session_factory: NewSession, in_background: InBackground
) -> None:
    old, new = takeover_of(new_executor)
    user = session_factory()
    user.autocommit = False
    assert resume(user, "w") == "resumed"
    # It comes back for the rest, and nobody is ended for a resume that takes its time.
    assert new.take_over(old) == (0, 0, True)
    user.commit()

    assert new.take_over(old) == (1, 0, False)
    assert sorted(claim(new, INTERNAL)) == ["other", "w"]


def test_a_run_that_was_cancelled_and_resumed_is_not_given_back_to_the_fence_of_before(
    new_executor: NewExecutor, session: Connection
) -> None:
    """A claim arrives late, when its workflow was cancelled and resumed. The run of before may still be in a step, with
    this very fence: it would write again. The claim gets something else, or nothing."""
    owner = new_executor()
    enqueue(session, "w")
    assert claim(owner, fence=5) == ["w"]
    cancel(session, "w")
    assert resume(session, "w", "q") == "resumed"

    assert claim(owner, fence=5) == []
    assert owner.checkpoint("w", 5, 1)["verdict"] == "fenced"
    enqueue(session, "another")
    assert claim(owner, fence=5) == ["another"]
    assert claim(owner, fence=6) == ["w"]


def test_it_is_not_given_back_as_long_as_the_run_of_before_lasts(
    new_executor: NewExecutor, session: Connection, clock: Clock
) -> None:
    owner = new_executor()
    enqueue(session, "w")
    claim(owner, fence=5)
    cancel(session, "w")
    resume(session, "w", "q")
    clock.advance(3600)
    owner.beat(5)

    assert claim(owner, fence=5) == []
    assert owner.beat()["interrupted_ids"] == []
