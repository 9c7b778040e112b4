"""FastAPI applications on the real engine: endpoints that are workflows, ids from the header, errors as JSON."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from pyengine import DBOS, SetWorkflowID


@pytest.fixture
def app(database_url: str) -> Iterator[FastAPI]:
    made = FastAPI()
    DBOS(fastapi=made, config={"name": "shop", "system_database_url": database_url})
    yield made
    DBOS.destroy(destroy_registry=True)


@pytest.fixture
def workflow() -> Callable[..., Any]:
    """A workflow of one step, as endpoints are written: sync or async."""

    def make(app: FastAPI, path: str, *, is_async: bool, calls: list[str]) -> None:
        if is_async:

            @DBOS.step(name=f"note{path}")
            async def note(what: str) -> str:
                calls.append(what)
                return what.upper()

            @app.get(path)
            @DBOS.workflow(name=f"visit{path}")
            async def visit(what: str) -> tuple[str, str | None]:
                return await note(what), DBOS.workflow_id
        else:

            @DBOS.step(name=f"note{path}")
            def note_sync(what: str) -> str:
                calls.append(what)
                return what.upper()

            @app.get(path)
            @DBOS.workflow(name=f"visit{path}")
            def visit_sync(what: str) -> tuple[str, str | None]:
                return note_sync(what), DBOS.workflow_id

    return make


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_an_endpoint_is_a_workflow_with_the_id_of_the_header(
    app: FastAPI, workflow: Callable[..., None], is_async: bool
) -> None:
    calls: list[str] = []
    workflow(app, "/visit", is_async=is_async, calls=calls)

    with TestClient(app) as client:
        key = {"dbos-idempotency-key": "order-1"}
        first = client.get("/visit", params={"what": "cake"}, headers=key)
        again = client.get("/visit", params={"what": "bread"}, headers=key)
        other = client.get("/visit", params={"what": "bread"})

        assert first.json() == again.json() == ["CAKE", "order-1"]
        assert other.json()[0] == "BREAD"
        assert other.json()[1] not in (None, "order-1")
        assert calls == ["cake", "bread"]
        status = DBOS.get_workflow_status("order-1")
        assert status is not None
        assert status.status == "SUCCESS"


def test_the_engine_is_there_only_while_the_application_runs(app: FastAPI) -> None:
    @DBOS.workflow()
    def work() -> str:
        return "done"

    @app.get("/")
    def endpoint() -> str:
        return DBOS.start_workflow(work).get_result()

    with TestClient(app) as client:
        assert client.get("/").json() == "done"


def test_engine_errors_are_json(app: FastAPI) -> None:
    @app.get("/missing")
    def missing() -> None:
        DBOS.retrieve_workflow("nobody")

    @app.get("/cancelled")
    @DBOS.workflow()
    def cancelled() -> None:
        assert DBOS.workflow_id is not None
        DBOS.cancel_workflow(DBOS.workflow_id)
        DBOS.sleep(5)

    with TestClient(app) as client:
        missing_response = client.get("/missing")
        cancelled_response = client.get("/cancelled")

    assert missing_response.status_code == cancelled_response.status_code == 500
    assert missing_response.json()["dbos_error"] == "DBOSNonExistentWorkflowError"
    assert missing_response.json()["dbos_error_code"] == "5"
    assert cancelled_response.json()["dbos_error_code"] in ("10", "13")


def test_the_id_is_taken_by_the_first_workflow_only(app: FastAPI) -> None:
    @DBOS.workflow()
    def work(number: int) -> str | None:
        return DBOS.workflow_id

    @app.get("/")
    def endpoint() -> list[str | None]:
        return [work(1), work(2)]

    with TestClient(app) as client:
        first, second = client.get("/", headers={"dbos-idempotency-key": "one"}).json()

    assert first == "one"
    assert second != "one"


def test_an_id_set_in_the_endpoint_wins(app: FastAPI) -> None:
    @DBOS.workflow()
    def work() -> str | None:
        return DBOS.workflow_id

    @app.get("/")
    def endpoint() -> str | None:
        with SetWorkflowID("mine"):
            return work()

    with TestClient(app) as client:
        assert client.get("/", headers={"dbos-idempotency-key": "theirs"}).json() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_test_client_leaves_pythons_own_ctrl_c_alone(app: FastAPI) -> None:
    with TestClient(app), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_the_same_application_may_start_again(app: FastAPI, workflow: Callable[..., Any]) -> None:
    calls: list[str] = []
    workflow(app, "/again", is_async=False, calls=calls)

    for what in ("one", "two"):
        with TestClient(app) as client:
            assert client.get("/again", params={"what": what}).status_code == 200

    assert calls == ["one", "two"]
