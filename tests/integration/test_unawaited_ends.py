"""Workflows that nobody calls: nobody waits for their ends either, and yet each end is one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.fleet import Facts
from plugins.sessions import wait_until
from pyengine import DBOS, Queue, SetWorkflowID

Launch = Callable[..., type[DBOS]]
NewSession = Callable[..., psycopg.Connection[Any]]


def test_an_end_that_waits_for_an_open_transaction_keeps_no_thread(
    launch: Launch, session_factory: NewSession, facts: Facts
) -> None:
    launch(max_executor_threads=1)
    user = session_factory(autocommit=False)
    go = threading.Event()

    @DBOS.workflow()
    def flow(name: str) -> str:
        if name == "first":
            go.wait(30)
        return name

    with SetWorkflowID("first"):
        first = DBOS.start_workflow(flow, "first")
    user.execute("select from pyengine.in_flight where workflow_id = 'first' for update")
    go.set()

    # The only thread runs the next ones, while the first one's end is on its way.
    for number in range(3):
        assert DBOS.start_workflow(flow, f"{number}").get_result() == f"{number}"
    assert first.get_status().status == "PENDING"
    assert facts.one("select count(*) from pyengine.outcomes where workflow_id = 'first'") == 0
    user.rollback()
    assert first.get_result() == "first"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_result_that_postgres_refuses_becomes_an_error(
    dbos: type[DBOS], session_factory: NewSession, is_async: bool
) -> None:
    """A workflow must not run for ever because it cannot end. Those that end with it are not harmed."""
    session_factory().execute(
        "alter table pyengine.outcomes add constraint not_this check (status <> 'SUCCESS' or workflow_id <> 'refused')"
    )
    queue = Queue("work")

    @DBOS.workflow(name="flow")
    def sync_flow(name: str) -> str:
        return name

    @DBOS.workflow(name="flow_async")
    async def async_flow(name: str) -> str:
        return name

    flow: Any = async_flow if is_async else sync_flow

    def enqueue(name: str) -> Any:
        with SetWorkflowID(name):
            return queue.enqueue(flow, name)

    handles = {name: enqueue(name) for name in ("refused", *map(str, range(50)))}
    refused = handles.pop("refused")
    with pytest.raises(psycopg.errors.CheckViolation, match="not_this"):
        refused.get_result()
    assert refused.get_status().status == "ERROR"
    assert {name: handle.get_result() for name, handle in handles.items()} == {str(n): str(n) for n in range(50)}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_workflow_that_is_cancelled_while_its_end_is_on_its_way_stays_cancelled(
    launch: Launch, session_factory: NewSession, facts: Facts, is_async: bool
) -> None:
    launch()
    user = session_factory(autocommit=False)
    go = threading.Event()

    @DBOS.workflow(name="flow")
    def sync_flow() -> str:
        go.wait(30)
        return "done"

    @DBOS.workflow(name="flow_async")
    async def async_flow() -> str:
        while not go.is_set():
            await DBOS.sleep_async(0.01)
        return "done"

    flow: Any = async_flow if is_async else sync_flow
    with SetWorkflowID("w"):
        handle: Any = DBOS.start_workflow(flow)
    wait_until(lambda: facts.one("select count(*) from pyengine.in_flight where workflow_id = 'w'") == 1)
    # Cancelled by somebody whose transaction is open while the workflow ends.
    user.execute("select pyengine.cancel_workflow('w')")
    go.set()
    wait_until(lambda: facts.one("select count(*) from pg_locks where not granted") > 0, what="an end that waits")
    user.commit()
    with pytest.raises(Exception, match="cancelled"):
        handle.get_result()
    assert facts.one("select status from pyengine.outcomes where workflow_id = 'w'") == "CANCELLED"


def test_ends_are_counted_in_before_a_process_leaves(launch: Launch, facts: Facts) -> None:
    """What has returned when destroy() is called is finished, or goes on elsewhere: nothing is lost between."""
    queue = Queue("work")

    @DBOS.workflow()
    def flow(number: int) -> int:
        return number

    launch()
    queue.enqueue_many(flow, [(number,) for number in range(2000)])
    wait_until(lambda: facts.one("select count(*) from pyengine.outcomes") > 50)
    DBOS.destroy()

    finished = facts.one("select count(*) from pyengine.outcomes where status = 'SUCCESS'")
    assert facts.one("select count(*) from pyengine.in_flight where status = 'ENQUEUED'") == 2000 - finished
    launch()
    wait_until(lambda: facts.one("select count(*) from pyengine.outcomes where status = 'SUCCESS'") == 2000)
