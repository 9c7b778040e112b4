"""What goes in and comes out: values of every kind, exceptions, what cannot be stored, and what is too large."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
import pytest

from plugins.flavours import Flavour
from plugins.processes import Processes
from pyengine import DBOS, DBOSPortableJSONSerializer, SetWorkflowID
from pyengine.api._state import executor
from pyengine.errors import (
    DBOSException,
    DBOSMaxStepRetriesExceeded,
    DBOSPayloadTooLargeError,
    DBOSRemoteError,
    DBOSSerializationError,
)
from pyengine.runtime import run as run_module

Launch = Callable[..., type[DBOS]]
Dbos = type[DBOS]


@dataclass(frozen=True)
class Order:
    number: int
    lines: tuple[str, ...]


class Size(Enum):
    SMALL = "s"


VALUES: list[Any] = [
    None,
    True,
    0,
    -(10**30),
    1.5,
    float("inf"),
    "",
    "naïve \0 text \ud800",
    b"\0bytes",
    [],
    {},
    [1, [2, {"three": None}]],
    (1, (2, 3)),
    {1: "one", "two": 2},
    {"set": {1, 2}},
    datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc),
    timedelta(days=1),
    Decimal("1.10"),
    UUID(int=7),
    Order(1, ("cake", "bread")),
    Size.SMALL,
    "x" * 3_000_000,
]


def test_values_come_back_as_they_were(dbos: Dbos, flavour: Flavour) -> None:
    """Through steps, children, results read by others, and as the inputs of a replay."""
    stop = threading.Event()
    seen: list[Any] = []

    @flavour.step()
    async def echo(value: Any) -> Any:
        return value

    @flavour.workflow()
    async def child(value: Any) -> Any:
        return value

    @flavour.workflow()
    async def flow(values: list[Any], *, named: Any) -> list[Any]:
        out = []
        for value in values:
            out.append(await flavour.call(echo, value))
        seen.append((values, named, out, await flavour.call(child, values)))
        if not stop.is_set():
            stop.set()
            await flavour.ask("sleep", 300)
        return out

    async def main() -> None:
        with SetWorkflowID("w"):
            await flavour.start(flow, VALUES, named=tuple(VALUES))
        await flavour.until_set(stop)
        await flavour.ask("cancel_workflow", "w")
        assert await flavour.result(await flavour.ask("resume_workflow", "w")) == VALUES
        status = await flavour.ask("get_workflow_status", "w")
        assert status.input == {"args": [VALUES], "kwargs": {"named": tuple(VALUES)}}
        assert status.output == VALUES

    flavour.run(main())
    assert len(seen) == 2
    for values, named, out, from_child in seen:
        assert values == out == from_child == VALUES
        assert named == tuple(VALUES)
        assert [type(one) for one in out] == [type(one) for one in VALUES]


def test_plain_values_are_stored_as_json(dbos: Dbos, session_factory: Callable[..., psycopg.Connection[Any]]) -> None:
    @DBOS.workflow()
    def flow(text: str, *, times: int) -> dict[str, Any]:
        return {"said": text * times}

    with SetWorkflowID("w"):
        flow("na", times=2)
    connection = session_factory()
    inputs = connection.execute("select convert_from(inputs, 'utf8') from pyengine.workflows").fetchone()
    output = connection.execute("select convert_from(output, 'utf8') from pyengine.outcomes").fetchone()
    assert inputs == ('j{"args":["na"],"kwargs":{"times":2}}',)
    assert output == ('j{"said":"nana"}',)


def test_arguments_that_cannot_be_stored_are_refused_before_anything_is_written(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.workflow()
    async def flow(value: Any) -> None: ...

    async def main() -> None:
        with SetWorkflowID("w"), pytest.raises(DBOSSerializationError, match="lock"):
            await flavour.call(flow, threading.Lock())
        with SetWorkflowID("w"), pytest.raises(DBOSSerializationError, match="lock"):
            await flavour.start(flow, threading.Lock())

    flavour.run(main())
    assert DBOS.list_workflows() == []


def test_results_that_cannot_be_stored_are_errors(dbos: Dbos, flavour: Flavour) -> None:
    @flavour.step(name="step")
    async def step() -> Any:
        return threading.Lock()

    @flavour.workflow()
    async def flow() -> Any:
        with pytest.raises(DBOSSerializationError, match="lock"):
            await flavour.call(step)
        return threading.Lock()

    async def main() -> None:
        with SetWorkflowID("w"), pytest.raises(DBOSSerializationError, match="lock"):
            await flavour.call(flow)
        with pytest.raises(DBOSSerializationError, match="lock"):
            await flavour.ask("get_result", "w")

    flavour.run(main())
    (step_row,) = DBOS.list_workflow_steps("w")
    assert isinstance(step_row["error"], DBOSSerializationError)


def test_an_exception_that_cannot_be_stored_has_a_stand_in(dbos: Dbos, flavour: Flavour) -> None:
    class Local(Exception):
        pass

    @flavour.workflow()
    async def flow() -> None:
        raise Local("of this function", threading.Lock())

    async def main() -> None:
        with SetWorkflowID("w"), pytest.raises(Local):
            await flavour.call(flow)
        with pytest.raises(DBOSRemoteError, match=r"Local: .*of this function"):
            await flavour.ask("get_result", "w")

    flavour.run(main())


def test_what_is_too_large_is_refused_at_the_call(
    dbos: Dbos, flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "MAX_PAYLOAD_BYTES", 10_000)
    large = "x" * 20_000

    @flavour.step(name="small")
    async def small() -> str:
        return "small"

    @flavour.step(name="large", retries_allowed=True)
    async def too_large() -> str:
        return large

    @flavour.workflow(name="child")
    async def child(text: str) -> str:
        return text or large

    @flavour.workflow(name="flow")
    async def flow(where: str) -> Any:
        await flavour.call(small)
        if where == "step":
            return await flavour.call(too_large)
        if where == "arguments":
            return await flavour.start(child, large)
        return await flavour.call(child, "") if where == "child" else large

    async def main() -> None:
        for where, named in (
            ("step", "step large"),
            ("arguments", "arguments of workflow child"),
            ("child", "workflow child"),
            ("result", "workflow flow"),
        ):
            with SetWorkflowID(where), pytest.raises(DBOSPayloadTooLargeError, match=rf"{named} is 20,0\d\d bytes"):
                await flavour.call(flow, where)
            with pytest.raises(DBOSPayloadTooLargeError, match=named):
                await flavour.ask("get_result", where)
            steps = await flavour.ask("list_workflow_steps", where)
            assert (steps[0]["function_name"], steps[0]["output"]) == ("small", "small")

    flavour.run(main())


def test_a_large_value_goes_through(dbos: Dbos) -> None:
    """Honestly large, pickled and not: through a step, a result, and an input."""
    text, data = "ü" * 10_000_000, bytes(20_000_000)

    @DBOS.step()
    def echo(value: Any) -> Any:
        return value

    @DBOS.workflow()
    def flow(value: Any) -> int:
        return len(echo(value))

    @DBOS.workflow()
    def result() -> Any:
        return data

    with SetWorkflowID("w"):
        assert flow(text) == 10_000_000
    with SetWorkflowID("r"):
        result()
    assert DBOS.list_workflow_steps("w")[0]["output"] == text
    assert DBOS.get_result("r") == data


def test_a_value_larger_than_postgres_takes_is_refused_honestly(dbos: Dbos) -> None:
    @DBOS.step(name="huge")
    def huge() -> bytes:
        return bytes(250_000_001)

    @DBOS.workflow()
    def flow() -> int:
        with pytest.raises(DBOSPayloadTooLargeError, match=r"step huge is 250,000,0\d\d bytes"):
            huge()
        return 1

    assert flow() == 1


def test_strict_mode_stores_json_only(launch: Launch, flavour: Flavour) -> None:
    launch(strict_json=True)

    @flavour.step(name="pair")
    async def pair() -> Any:
        return (1, 2)

    @flavour.workflow(name="child")
    async def child() -> dict[str, Any]:
        return {"a": [1, None]}

    @flavour.workflow()
    async def flow(text: str) -> Any:
        with pytest.raises(DBOSSerializationError, match="tuple"):
            await flavour.call(pair)
        # What the engine itself records must not need pickle.
        status = await flavour.ask("get_workflow_status", DBOS.workflow_id)
        others = await flavour.ask("list_workflows", name="child")
        steps = await flavour.ask("list_workflow_steps", DBOS.workflow_id)
        await flavour.ask("cancel_workflow", "nobody")
        return [status.status, len(others), len(steps), await flavour.call(child)]

    @flavour.workflow()
    async def failing() -> None:
        raise ValueError("told in strict mode, too")

    async def main() -> None:
        with SetWorkflowID("w"):
            assert await flavour.call(flow, "x") == ["PENDING", 0, 3, {"a": [1, None]}]
        with pytest.raises(DBOSSerializationError, match="datetime"):
            await flavour.call(flow, datetime.now(timezone.utc))
        with SetWorkflowID("f"), pytest.raises(ValueError, match="told in strict mode"):
            await flavour.call(failing)
        with pytest.raises(ValueError, match="told in strict mode"):
            await flavour.ask("get_result", "f")

    flavour.run(main())


def test_strict_mode_refuses_pickles_of_others(launch: Launch) -> None:
    @DBOS.workflow()
    def flow(value: Any) -> Any:
        return value

    launch(application_version="v1")
    with SetWorkflowID("w"):
        flow((1, 2))
    DBOS.destroy()
    launch(application_version="v1", strict_json=True)
    with pytest.raises(DBOSSerializationError, match="strict mode"):
        DBOS.get_result("w")
    status = DBOS.get_workflow_status("w")
    assert status is not None
    assert isinstance(status.output, str)  # as it is stored


def test_a_serializer_of_the_users(launch: Launch, flavour: Flavour) -> None:
    launch(serializer=DBOSPortableJSONSerializer())

    @flavour.step()
    async def step() -> list[int]:
        return [1, 2]

    @flavour.workflow()
    async def flow(text: str, *, times: int) -> Any:
        status = await flavour.ask("get_workflow_status", DBOS.workflow_id)
        return {"said": text * times, "step": await flavour.call(step), "status": status.status}

    async def main() -> None:
        with SetWorkflowID("w"):
            assert await flavour.call(flow, "na", times=2) == {"said": "nana", "step": [1, 2], "status": "PENDING"}
        assert (await flavour.ask("get_result", "w"))["step"] == [1, 2]

    flavour.run(main())


def test_a_result_that_cannot_be_read_keeps_nobody_else_waiting(
    dbos: Dbos, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = executor("test")
    read = engine.database.all

    def all_(function: Any, **arguments: Any) -> Any:
        if "unreadable" in arguments.get("workflow_ids", ()):
            raise psycopg.errors.ProgramLimitExceeded("string buffer exceeds maximum allowed length")
        return read(function, **arguments)

    @DBOS.workflow()
    def flow() -> int:
        return 1

    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(DBOS.get_result, "good")
        bad = pool.submit(DBOS.get_result, "unreadable")
        monkeypatch.setattr(engine.database, "all", all_)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            bad.result(30)
        with SetWorkflowID("good"):
            flow()
        assert good.result(30) == 1
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) <= 2


def test_inputs_that_cannot_be_read_end_the_workflow(
    dbos: Dbos, session_factory: Callable[..., psycopg.Connection[Any]]
) -> None:
    go = threading.Event()

    @DBOS.workflow()
    def flow(number: int) -> int:
        go.wait(30)
        return number

    with SetWorkflowID("w"):
        DBOS.start_workflow(flow, 1)
    DBOS.cancel_workflow("w")
    session_factory().execute("update pyengine.workflows set inputs = 'j{\"broken'")
    go.set()
    with pytest.raises(DBOSException, match="damaged"):
        DBOS.resume_workflow("w").get_result()


def test_exceptions_come_back_as_themselves_from_another_process(
    dbos: Dbos, database_url: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (processes.folder / "bakery_errors.py").write_text(
        """
class Burnt(Exception):
    def __init__(self, what, *, degree):
        super().__init__(f"{what} is burnt")
        self.what, self.degree = what, degree
"""
    )
    program = processes.start(
        """
import os
from bakery_errors import Burnt
from pyengine import DBOS, SetWorkflowID

class OnlyHere(Exception):
    pass

DBOS(config={"name": "test-app", "system_database_url": os.environ["TEST_URL"]})

@DBOS.step(retries_allowed=True, max_attempts=2, interval_seconds=0.01)
def step():
    raise Burnt("bread", degree=1)

@DBOS.workflow()
def flow(kind):
    if kind == "burnt":
        raise Burnt("cake", degree=3) from ValueError("the oven")
    if kind == "builtin":
        raise KeyError("flour", 7)
    if kind == "step":
        step()
    raise OnlyHere("unknown elsewhere")

DBOS.launch()
for kind in ("burnt", "builtin", "step", "only"):
    with SetWorkflowID(kind):
        try:
            flow(kind)
        except Exception as error:
            print(type(error).__name__)
DBOS.destroy()
""",
        env={"TEST_URL": database_url},
    )
    assert program.wait(60) == 0, program.report()
    assert program.stdout == ["Burnt", "KeyError", "DBOSMaxStepRetriesExceeded", "OnlyHere"]

    monkeypatch.syspath_prepend(processes.folder)
    from bakery_errors import Burnt  # type: ignore[import-not-found]

    with pytest.raises(Burnt, match="cake is burnt") as burnt:
        DBOS.get_result("burnt")
    assert (burnt.value.what, burnt.value.degree) == ("cake", 3)
    with pytest.raises(KeyError) as builtin:
        DBOS.get_result("builtin")
    assert builtin.value.args == ("flour", 7)
    with pytest.raises(DBOSMaxStepRetriesExceeded) as retried:
        DBOS.get_result("step")
    assert [type(error) for error in retried.value.errors] == [Burnt, Burnt]
    with pytest.raises(DBOSRemoteError, match="OnlyHere: unknown elsewhere"):
        DBOS.get_result("only")
