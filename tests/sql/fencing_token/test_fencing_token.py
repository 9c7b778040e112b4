"""The number of a claim grows with every claim of a workflow, whatever the clock does and whoever claims."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plugins.clock import Clock
from plugins.executors import Executor, Row, in_flight, outcome, read, rows
from plugins.queueing import cancel, claim_rows, enqueue, resume

INTERNAL = "_dbos_internal_queue"
NewExecutor = Callable[..., Executor]


def claim_token(executor: Executor, queue: str = INTERNAL, fence: int | None = None) -> int:
    (found,) = claim_rows(executor, queue, fence=fence)
    token = found["fencing_token"]
    assert isinstance(token, int)
    return token


def hand_back(old: Executor) -> None:
    """As after a crash; the executor is dead then."""
    old.mark_dead(old)
    assert not old.take_over(old)[2]


def test_a_start_and_its_repeat_tell_one_token(executor: Executor) -> None:
    asked = {"fence": 5, "start_token": 1}
    first = executor.start("w", **asked)
    claimed = in_flight(executor.connection, "w")
    assert claimed is not None

    assert first["fencing_token"] == round(claimed["claimed_at"].timestamp() * 1_000_000)
    assert executor.start("w", **asked)["fencing_token"] == first["fencing_token"]
    assert executor.start("w", fence=6)["fencing_token"] is None, "it is not theirs"


def test_a_claim_its_repeat_and_its_late_description_tell_one_token(executor: Executor) -> None:
    enqueue(executor.connection, "w")
    token = claim_token(executor, "q", fence=5)

    assert claim_token(executor, "q", fence=5) == token
    (described,) = rows(executor.connection, "load_claims", **executor.me, fences=[5])
    assert described["fencing_token"] == token


# How a claim ends so that another one follows.
LOSSES: dict[str, Callable[[Executor], object]] = {
    "takeover": hand_back,
    "cancelled and resumed": lambda old: (cancel(old.connection, "w"), resume(old.connection, "w")),
    "out of time and resumed": lambda old: (expire(old), resume(old.connection, "w")),
    "set aside and resumed": lambda old: (set_aside(old), resume(old.connection, "w")),
}


def expire(old: Executor) -> None:
    old.connection.execute("update pyengine.in_flight set deadline = pyengine._now() - interval '1 second'")
    assert rows(old.connection, "expire_deadlines", limit=10) == [{"expire_deadlines": 1}]


def set_aside(old: Executor) -> None:
    assert rows(old.connection, "_quarantine", workflow_ids=["w"]) == [{"_quarantine": 1}]


@pytest.mark.parametrize("step_seconds", [0, 60, -3600], ids=["clock as it is", "clock ahead", "clock set back"])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_it_grows_with_every_claim(
    new_executor: NewExecutor, clock: Clock, loss: Callable[[Executor], object], step_seconds: float
) -> None:
    owner = new_executor()
    tokens = [owner.start("w", fence=5)["fencing_token"]]
    for _ in range(3):
        loss(owner)
        clock.advance(step_seconds)
        owner = new_executor()
        tokens.append(claim_token(owner))

    assert tokens == sorted(set(tokens))


def test_it_grows_though_a_claim_was_cancelled_and_handed_over_in_turns(
    new_executor: NewExecutor, clock: Clock
) -> None:
    """With the clock set back at first, only what was kept says how high the tokens were."""
    owner = new_executor()
    tokens = [owner.start("w", fence=5)["fencing_token"]]
    clock.advance(-3600)
    for loss in (hand_back, LOSSES["cancelled and resumed"], hand_back, LOSSES["set aside and resumed"]):
        loss(owner)
        owner = new_executor()
        tokens.append(claim_token(owner))

    assert tokens == [tokens[0] + number for number in range(len(tokens))]


def test_an_outcome_keeps_it_for_what_may_follow(new_executor: NewExecutor, clock: Clock) -> None:
    old, new = new_executor(), new_executor()
    first = old.start("w", fence=5)["fencing_token"]
    clock.advance(-3600)
    hand_back(old)
    claim_rows(new, INTERNAL, fence=6)
    new.finish("w", 6)

    kept = outcome(new.connection, "w")
    assert kept is not None
    assert kept["token_floor"] == first


def test_a_queued_workflow_that_was_never_lost_keeps_no_floor(executor: Executor) -> None:
    enqueue(executor.connection, "w")
    claim_rows(executor, "q", fence=5)
    waiting: Row | None = in_flight(executor.connection, "w")

    assert waiting is not None
    assert waiting["token_floor"] is None


def test_it_fits_into_what_other_stores_count_with(executor: Executor) -> None:
    """A double holds whole numbers up to 2**53 only, and so does JSON in many places."""
    token = executor.start("w")["fencing_token"]
    (far,) = read(executor.connection, "select pyengine._fencing_token('2200-01-01', null) as token")

    assert token < far["token"] < 2**53
