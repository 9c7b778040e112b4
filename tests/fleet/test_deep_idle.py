"""A supervised fleet that has nothing to do: its processes rest, and so does who beats for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from plugins.sessions import wait_until

pytestmark = pytest.mark.e2e

# Rests of two seconds, after a fifth of one without work.
APP = """
    from pyengine.runtime import rest

    rest.QUIET_SECONDS, rest.AGAIN_SECONDS, rest.REST_SECONDS = 0.2, 0.2, 2.0
    @DBOS.workflow(name="flow")
    def flow(name: str) -> str:
        return name

    @DBOS.workflow(name="kills")
    def kills() -> None:
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def resting(worker: Any) -> Callable[[int], bool]:
    def are(count: int) -> bool:
        found: int = worker.facts.one(
            "select count(*) from pyengine.executors where rests_for is not null and dead_at is null"
        )
        return found == count

    return are


def test_a_fleet_that_rests_makes_a_call_each_and_one_for_all(worker: Any, resting: Callable[[int], bool]) -> None:
    worker.start(APP, env={"TEST_IDLE": "deep"})
    wait_until(lambda: resting(2), what="two that rest", timeout_seconds=60)
    beats: set[tuple[int, Any]] = set()
    began = time.monotonic()
    # The last beats of a second before may be among them.
    while (seconds := time.monotonic() - began) < 9:
        beats.update(worker.facts.all("select executor_id, beat_at from pyengine.executors"))
        time.sleep(0.05)
    assert resting(2)
    # Of each its own and the warden's, every two seconds; without rest there would be 18 of the warden's alone.
    assert len(beats) <= 2 * 2 * (seconds / 2 + 1), sorted(beats)


def test_what_is_enqueued_is_run_and_the_fleet_rests_again(worker: Any, resting: Callable[[int], bool]) -> None:
    worker.start(APP, env={"TEST_IDLE": "deep"})
    wait_until(lambda: resting(2), what="two that rest", timeout_seconds=60)
    worker.enqueue("w", "flow", "x")
    worker.facts.wait_for("w")
    wait_until(lambda: resting(2), what="two that rest", timeout_seconds=60)


def test_a_child_that_dies_after_its_rest_is_buried_and_its_work_goes_on(
    worker: Any, resting: Callable[[int], bool]
) -> None:
    worker.start(APP, env={"TEST_IDLE": "deep"})
    wait_until(lambda: resting(2), what="two that rest", timeout_seconds=60)
    killed = set(worker.pids())
    worker.enqueue("w", "kills")
    worker.facts.wait("select count(*) >= 1 from pyengine.executors where dead_at is not null", timeout_seconds=60)
    worker.give_up("w")
    wait_until(lambda: len(set(worker.pids()) - killed) >= 1, what="a new child", timeout_seconds=60)
