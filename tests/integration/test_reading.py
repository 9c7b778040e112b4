"""What is told of workflows: lists and their filters, fields of a status, and where running code finds itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from plugins.flavours import Flavour
from pyengine import (
    DBOS,
    DBOSContextSetAuth,
    Queue,
    SetEnqueueOptions,
    SetWorkflowAttributes,
    SetWorkflowID,
    SetWorkflowTimeout,
)
from pyengine.errors import DBOSException

Dbos = type[DBOS]
Launch = Callable[..., type[DBOS]]


@pytest.fixture
def go(dbos: Dbos) -> threading.Event:
    """Six workflows: a, b and c end well, f fails, w waits until it may go on, q is on a queue nobody serves yet."""
    go = threading.Event()

    @DBOS.workflow(name="good")
    def good(number: int) -> int:
        return number

    @DBOS.workflow(name="bad")
    def bad() -> None:
        raise ValueError("bad")

    @DBOS.workflow(name="waiting")
    def waiting() -> str:
        assert go.wait(60)
        return "over"

    for number, name in enumerate("abc"):
        time.sleep(0.005)
        with (
            SetWorkflowID(name),
            SetWorkflowAttributes({"n": number, "of": "the list"}),
            DBOSContextSetAuth("ann" if number else None, ["cook"]),
        ):
            good(number)
    with SetWorkflowID("f"), pytest.raises(ValueError, match="bad"):
        bad()
    with SetWorkflowID("w"), SetWorkflowTimeout(300):
        DBOS.start_workflow(waiting)
    with SetWorkflowID("q"), SetEnqueueOptions(delay_seconds=0.5):
        Queue("later").enqueue(good, 9)
    return go


def test_lists_and_their_filters(dbos: Dbos, go: threading.Event, flavour: Flavour) -> None:
    def ids(**filters: Any) -> str:
        found = flavour.run(flavour.ask("list_workflows", **filters))
        return "".join(status.workflow_id for status in found)

    status = {name: DBOS.get_workflow_status(name) for name in "abcfwq"}
    created = {
        name: datetime.fromtimestamp(one.created_at / 1000, timezone.utc).isoformat()  # type: ignore[union-attr, operator]
        for name, one in status.items()
    }
    long_ago = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()

    assert ids() == "abcfwq"
    assert ids(sort_desc=True) == "qwfcba"
    assert ids(limit=2) == "ab"
    assert ids(limit=2, offset=2) == "cf"
    assert ids(workflow_ids=["a", "q", "nobody"]) == "aq"
    assert ids(workflow_id_prefix="w") == "w"
    assert ids(workflow_id_prefix=["w", "%", "_"]) == "w"
    assert ids(status="SUCCESS") == "abc"
    assert ids(status=["ERROR", "PENDING"]) == "fw"
    assert ids(status=["DELAYED", "ENQUEUED"]) == "q"
    assert ids(name="good") == "abcq"
    assert ids(name=["bad", "waiting"]) == "fw"
    assert ids(user="ann") == "bc"
    assert ids(queue_name="later") == "q"
    assert ids(queues_only=True) == "q"
    assert ids(attributes={"n": 1}) == "b"
    assert ids(attributes={"of": "the list"}) == "abc"
    assert ids(app_version=DBOS.application_version) == "abcfwq"
    assert ids(app_version="other") == ""
    assert ids(executor_id=DBOS.executor_id) == "abcfw"
    assert ids(application_name="other-app") == ""
    assert ids(has_parent=True) == ids(is_fork=True) == ids(schedule_name="x") == ids(parent_workflow_id="a") == ""
    assert "f" in ids(start_time=created["f"])
    assert "a" not in ids(start_time=created["f"])
    assert "a" in ids(end_time=created["a"])
    assert "f" not in ids(end_time=created["a"])
    assert ids(end_time=long_ago) == ids(completed_before=long_ago) == ""
    assert ids(start_time=long_ago, completed_after=long_ago.replace("+00:00", "Z")) == "abcf"
    (queued,) = flavour.run(flavour.ask("list_queued_workflows"))
    assert (queued.workflow_id, queued.queue_name) == ("q", "later")
    bare = flavour.run(flavour.ask("list_workflows", workflow_ids="b", load_input=False, load_output=False))
    assert (bare[0].input, bare[0].output) == (None, None)

    go.set()
    assert DBOS.get_result("w") == "over"
    assert DBOS.get_result("q") == 9


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"status": "DONE"}, "PENDING"),
        ({"limit": -1}, "limit"),
        ({"offset": 1.5}, "offset"),
        ({"start_time": "yesterday"}, "ISO 8601"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_filters_that_make_no_sense(dbos: Dbos, filters: dict[str, Any], words: str) -> None:
    with pytest.raises((DBOSException, TypeError), match=words):
        DBOS.list_workflows(**filters)


def test_the_fields_of_a_status(dbos: Dbos, go: threading.Event) -> None:
    now = datetime.now(timezone.utc).timestamp() * 1000
    done = DBOS.get_workflow_status("b")
    assert done is not None
    assert (done.name, done.class_name, done.config_name, done.status) == ("good", None, None, "SUCCESS")
    assert (done.authenticated_user, done.authenticated_roles, done.assumed_role) == ("ann", ["cook"], None)
    assert (done.input, done.output, done.error) == ({"args": [1], "kwargs": {}}, 1, None)
    assert (done.queue_name, done.recovery_attempts, done.application_name) == (None, 1, "test-app")
    assert done.created_at is not None
    assert done.completed_at is not None
    assert now - 600_000 < done.created_at <= done.completed_at <= now + 600_000
    failed = DBOS.get_workflow_status("f")
    assert failed is not None
    assert (failed.status, failed.output, type(failed.error)) == ("ERROR", None, ValueError)
    waiting = DBOS.get_workflow_status("w")
    assert waiting is not None
    assert (waiting.status, waiting.output, waiting.completed_at) == ("PENDING", None, None)
    assert waiting.workflow_timeout_ms == 300_000
    assert waiting.workflow_deadline_epoch_ms is not None
    assert waiting.created_at is not None
    assert abs(waiting.workflow_deadline_epoch_ms - waiting.created_at - 300_000) < 60_000
    go.set()
    assert DBOS.get_result("q") == 9
    queued = DBOS.get_workflow_status("q")
    assert queued is not None
    assert queued.delay_until_epoch_ms is not None
    assert queued.dequeued_at is not None
    assert queued.dequeued_at >= queued.delay_until_epoch_ms
    assert DBOS.get_result("w") == "over"


def test_steps_are_listed_in_pages(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.step(name="step")
    async def step(number: int) -> int:
        return number

    @flavour.workflow()
    async def flow() -> None:
        for number in range(5):
            await flavour.call(step, number)

    async def main() -> None:
        with SetWorkflowID("w"):
            await flavour.call(flow)
        page = await flavour.ask("list_workflow_steps", "w", limit=2, offset=1)
        assert [(step["function_id"], step["output"]) for step in page] == [(2, 1), (3, 2)]
        bare = await flavour.ask("list_workflow_steps", "w", load_output=False)
        assert [step["output"] for step in bare] == [None] * 5
        for one in page:
            assert 0 < one["started_at_epoch_ms"] <= one["completed_at_epoch_ms"]

    flavour.run(main())


def test_running_code_knows_where_it_is(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.step()
    async def step() -> list[Any]:
        status = DBOS.step_status
        assert status is not None
        return [DBOS.workflow_id, DBOS.step_id, status.current_attempt, status.max_attempts, DBOS.authenticated_user]

    @flavour.workflow()
    async def child() -> list[Any]:
        return [DBOS.workflow_id, DBOS.parent_workflow_id, await flavour.call(step), DBOS.authenticated_user]

    @flavour.workflow()
    async def flow() -> list[Any]:
        here = [DBOS.workflow_id, DBOS.step_id, DBOS.parent_workflow_id, DBOS.authenticated_roles]
        return [*here, await flavour.call(child), DBOS.workflow_id]

    async def main() -> None:
        assert (DBOS.workflow_id, DBOS.step_id, DBOS.step_status, DBOS.parent_workflow_id) == (None,) * 4
        assert (DBOS.authenticated_user, DBOS.authenticated_roles, DBOS.assumed_role) == (None,) * 3
        with SetWorkflowID("w"), DBOSContextSetAuth("ann", ["cook"]):
            assert DBOS.authenticated_user == "ann"
            result = await flavour.call(flow)
        assert result[:4] == ["w", None, None, ["cook"]]
        assert result[4][:3] == ["w-1", "w", ["w-1", 1, 0, None, "ann"]]
        assert result[5] == "w"
        assert DBOS.workflow_id is None

    flavour.run(main())
    assert isinstance(DBOS.application_version, str)
    assert DBOS.logger.name == "dbos"


def test_whoever_is_authenticated_is_so_in_a_replay(launch: Launch, flavour: Flavour) -> None:
    asleep = threading.Event()

    @flavour.workflow()
    async def flow() -> list[Any]:
        asleep.set()
        await flavour.ask("sleep", 0.2)
        return [DBOS.authenticated_user, DBOS.authenticated_roles]

    launch()
    with SetWorkflowID("w"), DBOSContextSetAuth("ann", ["cook", "eater"]):
        flavour.run(flavour.start(flow))
    assert asleep.wait(30)
    DBOS.destroy()
    launch()
    assert flavour.run(flavour.ask("get_result", "w")) == ["ann", ["cook", "eater"]]


def test_applications_on_one_database_do_not_see_each_other(launch: Launch) -> None:
    @DBOS.workflow()
    def flow() -> int:
        return 1

    launch(name="first-app")
    with SetWorkflowID("one"):
        flow()
    DBOS.destroy()
    launch(name="second-app")
    with SetWorkflowID("two"):
        flow()
    assert [status.workflow_id for status in DBOS.list_workflows()] == ["two"]
    both = DBOS.list_workflows(application_name=["first-app", "second-app"])
    assert [status.workflow_id for status in both] == ["one", "two"]
