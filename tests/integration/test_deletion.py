"""Workflows that are deleted: finished, waiting, and while they run."""

from __future__ import annotations

import threading
from typing import Any

from plugins.flavours import Flavour
from plugins.fleet import Facts
from pyengine import DBOS, SetWorkflowID

Dbos = type[DBOS]
LONG = 300.0


def test_it_is_gone_and_its_id_is_free_again(dbos: Dbos, flavour: Flavour, facts: Facts) -> None:
    runs: list[str] = []

    @flavour.workflow()
    async def flow(word: str) -> str:
        runs.append(word)
        return word

    async def main() -> None:
        for word in ("one", "two"):
            with SetWorkflowID("w"):
                handle = await flavour.start(flow, word)
            assert await flavour.result(handle) == word
            await flavour.ask("delete_workflow", "w")
            assert await flavour.ask("get_workflow_status", "w") is None
        await flavour.ask("delete_workflows", ["w", "unknown"])

    flavour.run(main())
    assert runs == ["one", "two"]
    assert facts.one("select count(*) from pyengine.workflows") == 0


def test_a_sleeping_run_wakes_and_leaves_nothing(dbos: Dbos, flavour: Flavour, facts: Facts) -> None:
    asleep, woken = threading.Event(), threading.Event()

    @flavour.step(name="after")
    async def after() -> None: ...

    @flavour.workflow()
    async def flow() -> None:
        asleep.set()
        try:
            await flavour.ask("sleep", LONG)
        finally:
            woken.set()
        await flavour.call(after)

    async def main() -> None:
        with SetWorkflowID("w"):
            await flavour.start(flow)
        await flavour.until_set(asleep)
        await flavour.ask("delete_workflow", "w")
        await flavour.until_set(woken)

    flavour.run(main())
    for table in ("workflows", "in_flight", "outcomes", "checkpoints"):
        assert facts.one(f"select count(*) from pyengine.{table}") == 0


def test_children_stay_unless_they_are_asked_for(dbos: Dbos, flavour: Flavour, facts: Facts) -> None:
    @flavour.workflow(name="leaf")
    async def leaf() -> None: ...

    @flavour.workflow(name="branch")
    async def branch() -> None:
        await flavour.call(leaf)

    @flavour.workflow(name="root")
    async def root() -> None:
        await flavour.call(branch)
        await flavour.call(branch)

    async def run(workflow_id: str) -> None:
        with SetWorkflowID(workflow_id):
            await flavour.call(root)

    async def main() -> None:
        await run("alone")
        await run("family")
        await flavour.ask("delete_workflow", "alone")
        await flavour.ask("delete_workflow", "family", delete_children=True)

    flavour.run(main())
    left: list[Any] = facts.all("select name from pyengine.workflows order by name")
    assert left == ["branch", "branch", "leaf", "leaf"]


def test_in_a_workflow_it_is_a_step(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow(name="victim")
    async def victim() -> None: ...

    @flavour.workflow(name="cleaner")
    async def cleaner() -> None:
        await flavour.ask("delete_workflow", "v")

    async def main() -> None:
        with SetWorkflowID("v"):
            await flavour.call(victim)
        with SetWorkflowID("c"):
            await flavour.call(cleaner)

    flavour.run(main())
    assert [step["function_name"] for step in DBOS.list_workflow_steps("c")] == ["DBOS.deleteWorkflow"]
    assert DBOS.get_workflow_status("v") is None
