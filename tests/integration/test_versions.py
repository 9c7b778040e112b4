"""Versions: of the application, whose work each process runs, and of the schema, which serves an engine or does not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from plugins.fleet import Facts, Fleet
from plugins.processes import Processes
from pyengine import DBOS, Queue, SetEnqueueOptions, SetWorkflowID
from pyengine.api import _engine
from pyengine.api._state import executor
from pyengine.runtime.executor import Executor

Launch = Callable[..., type[DBOS]]

NO_ARGUMENTS = b'j{"args":[],"kwargs":{}}'
VERSIONED = """
    queue = Queue("work")

    @DBOS.workflow(name="flow")
    def flow():
        say("run by", DBOS.application_version)
        return DBOS.application_version
"""


def messages(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


def test_work_of_another_version_is_left_alone_and_told_of_in_one_line(
    launch: Launch, facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    @DBOS.workflow(name="flow")
    def flow() -> str:
        return str(DBOS.application_version)

    queue = Queue("work")
    launch(application_version="v2")
    for number in range(3):
        facts.enqueue(f"old {number}", "flow", "work", "v1", NO_ARGUMENTS)
    facts.enqueue("older", "flow", "work", "v0", NO_ARGUMENTS)
    assert queue.enqueue(flow).get_result() == "v2"
    time.sleep(1.5)
    assert facts.all("select distinct status from pyengine.in_flight") == ["ENQUEUED"]
    DBOS.destroy()
    caplog.clear()
    launch(application_version="v2")
    told = messages(caplog, "no live executor")
    assert len(told) == 1, told
    assert "1 of version v0" in told[0]
    assert "3 of version v1" in told[0]
    assert "v2" in told[0]
    for workflow_id in ("old 0", "old 1", "old 2", "older"):
        DBOS.cancel_workflow(workflow_id)


def test_nothing_is_told_when_all_work_has_its_version(
    launch: Launch, fleet: Fleet, facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.define(
        """
        @DBOS.workflow(name="busy")
        def busy():
            DBOS.sleep(3)
        """
    )
    fleet.start(version="v1", after_launch="DBOS.start_workflow(busy)")
    launch(application_version="v2")
    assert messages(caplog, "no live executor") == []
    assert facts.unfinished() == 1
    DBOS.cancel_workflow(facts.one("select workflow_id from pyengine.in_flight"))


def test_a_killed_version_is_told_of_at_the_launch_of_the_next(
    launch: Launch, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    """Not only when its lease has run out: the new process sees that the old one is gone."""
    fleet.define(
        """
        @DBOS.workflow(name="busy")
        def busy():
            say("busy")
            DBOS.sleep(3600)
        """
    )
    old = fleet.start(version="v1", after_launch='with SetWorkflowID("stranded"): DBOS.start_workflow(busy)')
    old.wait_for_line("^busy")
    old.kill()
    launch(application_version="v2")
    assert len(messages(caplog, "1 of version v1")) == 1
    assert DBOS.retrieve_workflow("stranded").get_status().status == "ENQUEUED"
    DBOS.cancel_workflow("stranded")


def test_unversioned_work_is_run_by_the_latest_live_version(fleet: Fleet, facts: Facts) -> None:
    fleet.define(VERSIONED)
    older = fleet.start(version="v1")
    newer = fleet.start(version="v2")
    for number in range(5):
        facts.enqueue(f"flow {number}", "flow", "work", None, NO_ARGUMENTS)
    newer.wait_for_line("^run by v2", times=5)
    facts.wait("select count(*) = 5 from pyengine.outcomes")
    newer.kill()
    facts.enqueue("last", "flow", "work", None, NO_ARGUMENTS)
    older.wait_for_line("^run by v1")
    facts.wait_for("last")


def test_the_version_of_a_program_follows_its_workflows(fleet: Fleet, processes: Processes, facts: Facts) -> None:
    """An edit of a workflow makes another version, which leaves the work of the former one alone."""
    program = """
        import os, sys, time
        from pyengine import DBOS, Queue
        DBOS(config={"name": "test-app", "system_database_url": os.environ["TEST_URL"]})
        queue = Queue("work")

        @DBOS.workflow()
        def flow():
            print("EDITION", flush=True)
            DBOS.sleep(0.2)

        DBOS.launch()
        print("version", DBOS.application_version, flush=True)
        if len(sys.argv) > 1:
            queue.enqueue(flow)
            os._exit(9)
        time.sleep(600)
    """
    env = {"TEST_URL": fleet.database_url}
    first = processes.start(program.replace("EDITION", "first"), "enqueue", name="first.py", env=env)
    first.wait()
    second = processes.start(program.replace("EDITION", "second"), name="second.py", env=env)
    second.wait_for_line("^version")
    second.wait_for_line("1 of version")
    again = processes.start(program.replace("EDITION", "first"), name="again.py", env=env)
    again.wait_for_line("^first")
    facts.wait("select count(*) = 1 from pyengine.outcomes")
    versions = [line for each in (first, second, again) for line in each.stdout if line.startswith("version")]
    assert versions[0] == versions[2] != versions[1]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[Executor]:
    """The executors whose program would have ended: this one runs the tests."""
    ended: list[Executor] = []
    monkeypatch.setattr(_engine, "leave", ended.append)
    return ended


def test_a_schema_that_serves_no_more_is_obeyed_by_a_running_engine(
    launch: Launch, facts: Facts, caplog: pytest.LogCaptureFixture, left: list[Executor]
) -> None:
    queue = Queue("work")

    @DBOS.step()
    def step() -> str:
        return "done"

    @DBOS.workflow()
    def flow() -> str:
        DBOS.sleep(3)
        return step()

    launch()
    with SetWorkflowID("running"):
        running = DBOS.start_workflow(flow)
    facts.execute("update pyengine.engine set oldest_protocol = 99")
    try:
        deadline = time.monotonic() + 20
        while executor("test").is_served:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        told = messages(caplog, "claims nothing more")
        assert len(told) == 1, told
        assert "99" in told[0]
        assert "pgrade" in told[0]
        with SetWorkflowID("later"):
            later = queue.enqueue(flow)
        assert running.get_result() == "done", "what runs is let end"
        time.sleep(1.5)
        assert later.get_status().status == "ENQUEUED"
        assert left == [executor("test")], "drained, so the program ends"
        assert len(messages(caplog, "claims nothing more")) == 1
    finally:
        facts.execute("update pyengine.engine set oldest_protocol = 1")
    DBOS.cancel_workflow("later")


def test_a_program_that_is_served_no_more_drains_and_exits_with_3(fleet: Fleet, facts: Facts) -> None:
    fleet.define(VERSIONED)
    program = fleet.start()
    facts.execute("update pyengine.engine set oldest_protocol = 99")
    assert program.wait(30) == 3, program.report()
    assert facts.one("select count(*) from pyengine.executors where dead_reason = 'retired'") == 1
    facts.execute("update pyengine.engine set oldest_protocol = 1")


def test_an_unserved_engine_that_is_fenced_says_so_once_and_stops(
    launch: Launch, facts: Facts, caplog: pytest.LogCaptureFixture, left: list[Executor]
) -> None:
    launch()
    facts.execute("update pyengine.engine set oldest_protocol = 99")
    facts.execute("update pyengine.executors set dead_at = now(), dead_reason = 'a test'")
    try:
        deadline = time.monotonic() + 20
        while executor("test").is_served:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.5)
        assert len(messages(caplog, "claims nothing more")) == 1
        assert messages(caplog, "A tick failed") == []
    finally:
        facts.execute("update pyengine.engine set oldest_protocol = 1")


def test_launch_on_a_schema_that_does_not_serve_exits_with_3(fleet: Fleet, facts: Facts) -> None:
    fleet.define(VERSIONED)
    facts.execute("update pyengine.engine set oldest_protocol = 99")
    facts.enqueue("waiting", "flow", "work", "v1", NO_ARGUMENTS)
    program = fleet.start(is_up=False)
    assert program.wait(30) == 3, program.report()
    assert [line for line in program.stderr if "serves engine protocols from 99 on" in line]
    assert "Traceback" not in "\n".join(program.stderr)
    assert facts.status("waiting") == "ENQUEUED"
    assert facts.one("select count(*) from pyengine.executors") == 0
    facts.execute("update pyengine.engine set oldest_protocol = 1")
    fleet.start()
    facts.wait_for("waiting")


def test_the_app_version_of_an_enqueue_is_that_of_the_program(launch: Launch, facts: Facts) -> None:
    launch(application_version="v5")
    queue = Queue("work")

    @DBOS.workflow()
    def flow() -> None:
        return None

    with SetEnqueueOptions(app_version="v6"):
        foreign = queue.enqueue(flow)
    own = queue.enqueue(flow)
    assert own.get_status().app_version == "v5"
    own.get_result()
    assert foreign.get_status().app_version == "v6"
    DBOS.cancel_workflow(foreign.workflow_id)
