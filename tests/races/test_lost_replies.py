"""Every call whose reply was lost: repeated, twice at once, and its late original when the workflow has moved on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, outcome
from plugins.queueing import cancel, resume
from plugins.replies import CALLS, Call, World, clear, run_on, settle, snapshot, twin
from plugins.sessions import Connection, backend_pid

NewExecutor = Callable[..., Executor]
NewSession = Callable[..., Connection]
InBackground = Callable[..., Future[Any]]
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
def world(new_executor: NewExecutor) -> World:
    return World(new_executor(), new_executor(), new_executor())


@every_call
def test_a_repeat_gets_the_first_answer_and_changes_nothing(world: World, session: Connection, call: Call) -> None:
    assert call(world) == call.first
    after = snapshot(session)

    assert call(world) == call.repeat
    assert snapshot(session) == after


# A session lock stays with its session, whatever becomes of the transaction: the repeat is told that it is held.
SESSION_BOUND = {"hold liveness"}
# They pass over what somebody else is just doing; what is left is for the next round.
SKIPPING = {"release delayed", "expire deadlines"}


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        (name, ends)
        for name in CALLS
        if name not in SESSION_BOUND
        for ends in ("commit", "rollback")
        if ends == "commit" or name not in SKIPPING
    ],
)
def test_a_repeat_that_meets_its_original_does_what_one_of_them_does(
    world: World,
    session: Connection,
    session_factory: NewSession,
    in_background: InBackground,
    name: str,
    ends: str,
) -> None:
    """The original is still at work when the client gives it up and repeats it on a new connection."""
    call = CALLS[name]
    original, repeat = twin(world.owner, session_factory(autocommit=False)), twin(world.owner, session_factory())
    assert call(world, original) == call.first
    alone = snapshot(original.connection, instants=False)
    waiting = in_background(call, world, repeat)
    settle(waiting, session, backend_pid(repeat.connection))
    getattr(original.connection, ends)()

    assert waiting.result(30) in (call.first, call.repeat)
    assert snapshot(session, instants=False) == alone


def finish(world: World, workflow_id: str) -> None:
    assert world.owner.finish(workflow_id, run_on(world.owner, workflow_id, 21)) == "ok"


def end(world: World, workflow_id: str) -> None:
    assert cancel(world.other.connection, workflow_id) == "cancelled"


def bring_back(world: World, workflow_id: str) -> None:
    end(world, workflow_id)
    assert resume(world.other.connection, workflow_id, "q") == "resumed"


def run_again(world: World, workflow_id: str) -> None:
    bring_back(world, workflow_id)
    run_on(world.owner, workflow_id, 21)


def lose(world: World, workflow_id: str) -> None:
    run_on(world.owner, workflow_id, 21)
    assert world.other.mark_dead(world.owner)
    while world.other.take_over(world.owner)[2]:
        pass


def lose_and_finish(world: World, workflow_id: str) -> None:
    lose(world, workflow_id)
    for each in ("q", "_dbos_internal_queue"):
        found = world.other.connection.execute(
            "update pyengine.in_flight set queue = 'mine' where workflow_id = %s and queue = %s", (workflow_id, each)
        )
        if found.rowcount:
            assert world.other.finish(workflow_id, run_on(world.other, workflow_id, 22)) == "ok"


MOVES: dict[str, Callable[[World, str], None]] = {
    "finished": finish,
    "cancelled": end,
    "resumed": bring_back,
    "running again": run_again,
    "taken over": lose,
    "finished elsewhere": lose_and_finish,
}
WORK = {
    name: call for name, call in CALLS.items() if call.subject and name not in ("release delayed", "expire deadlines")
}


@pytest.mark.parametrize("call", WORK.values(), ids=WORK.keys())
def test_a_late_original_finds_that_the_workflow_has_moved_on(
    new_executor: NewExecutor, session: Connection, call: Call
) -> None:
    """The client has its answer from the repeat. What it sent first arrives last, and must not undo what came since."""
    executors = [new_executor() for _ in range(3)]
    for name, move in MOVES.items():
        clear(session)
        world = World(*[register_anew(executor) for executor in executors])
        assert (call(world), call(world)) == (call.first, call.repeat)
        if outcome(session, str(call.subject)) is None:
            move(world, str(call.subject))
        after = snapshot(session)
        is_dead = world.owner.dead_reason is not None
        answer = answer_of(call, world)
        assert (answer == "WF001") is (is_dead and call.is_fenced), name
        assert answer != "stored", name

        assert snapshot(session) == after, name


def answer_of(call: Call, world: World) -> Any:
    try:
        return call(world)
    except psycopg.Error as refused:
        return refused.sqlstate


def register_anew(executor: Executor) -> Executor:
    return Executor(executor.connection)
