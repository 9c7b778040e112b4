"""The FastAPI integration around an engine that only says when it is launched and destroyed; no database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from pyengine import errors
from pyengine.integrations.fastapi import install
from pyengine.runtime.context import current_settings

pytest.importorskip("fastapi")

from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient

EVENTS: list[str] = []


class FakeEngine:
    def launch(self) -> None:
        EVENTS.append("launch")

    def destroy(self) -> None:
        EVENTS.append("destroy")


class BrokenEngine(FakeEngine):
    def launch(self) -> None:
        raise errors.DBOSInitializationError("no database")


@pytest.fixture(autouse=True)
def _no_events() -> None:
    EVENTS.clear()


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI()
    install(made, FakeEngine())
    return made


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as started:
        yield started


def requested_id() -> str | None:
    request = current_settings.get().id_request
    return None if request is None else request.workflow_id


def test_the_engine_lives_as_long_as_the_application(app: FastAPI) -> None:
    with TestClient(app):
        assert EVENTS == ["launch"]
    assert EVENTS == ["launch", "destroy"]


def test_it_lives_inside_the_applications_own_lifespan() -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        EVENTS.append("up")
        yield {"greeting": "hello"}
        EVENTS.append("down")

    app = FastAPI(lifespan=lifespan)
    install(app, FakeEngine())

    @app.get("/")
    def greet(request: Request) -> str:
        return str(request.state.greeting)

    with TestClient(app) as client:
        assert client.get("/").json() == "hello"
    assert EVENTS == ["up", "launch", "destroy", "down"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of on_event itself
def test_handlers_of_startup_and_shutdown_still_run(app: FastAPI) -> None:
    @app.on_event("startup")
    def up() -> None:
        EVENTS.append("up")

    @app.on_event("shutdown")
    async def down() -> None:
        EVENTS.append("down")

    with TestClient(app):
        pass
    assert EVENTS == ["up", "launch", "destroy", "down"]


def test_routers_that_are_included_later_keep_their_lifespans(app: FastAPI) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        EVENTS.append("router up")
        yield
        EVENTS.append("router down")

    app.include_router(APIRouter(lifespan=lifespan))

    with TestClient(app):
        pass
    assert sorted(EVENTS) == ["destroy", "launch", "router down", "router up"]


def test_a_second_installation_changes_nothing(app: FastAPI) -> None:
    install(app, FakeEngine())

    with TestClient(app):
        pass
    assert EVENTS == ["launch", "destroy"]


def test_an_application_whose_engine_does_not_launch_does_not_start() -> None:
    app = FastAPI()
    install(app, BrokenEngine())

    with pytest.raises(errors.DBOSInitializationError, match="no database"), TestClient(app):
        pass


@pytest.mark.parametrize("header", ["dbos-idempotency-key", "DBOS-Idempotency-Key"])
def test_the_header_names_the_workflow_in_sync_and_async_endpoints(
    app: FastAPI, client: TestClient, header: str
) -> None:
    app.get("/sync")(requested_id)

    @app.get("/async")
    async def asynchronous() -> str | None:
        return requested_id()

    for path in ("/sync", "/async"):
        assert client.get(path, headers={header: "order-7"}).json() == "order-7"
        assert client.get(path).json() is None
        assert client.get(path, headers={header: "  "}).json() is None


def test_the_request_id_is_kept_or_made(app: FastAPI, client: TestClient) -> None:
    @app.get("/")
    def request_id(request: Request) -> str:
        return str(request.state.request_id)

    given = client.get("/", headers={"x-request-id": "r-1"})
    made = client.get("/")

    assert given.headers["x-request-id"] == given.json() == "r-1"
    assert made.headers["x-request-id"] == made.json()
    assert len(made.json()) == 36


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.DBOSNonExistentWorkflowError("w"), 500, "5"),
        (errors.DBOSNotAuthorizedError("not you"), 403, "8"),
        (errors.DBOSWorkflowCancelledError("it was cancelled"), 500, "10"),
        (errors.DBOSWorkflowConflictIDError("w"), 500, "1"),
        (errors.ExecutorStopping("the engine is shutting down"), 503, None),
        (errors.ClaimLost("taken over"), 503, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_engine_errors_become_json(
    app: FastAPI, client: TestClient, error: BaseException, status: int, code: str | None, kind: str
) -> None:
    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    app.get("/")(fail if kind == "sync" else fail_async)

    response = client.get("/")

    assert response.status_code == status
    assert response.json() == {
        "message": getattr(error, "message", str(error)),
        "dbos_error_code": code,
        "dbos_error": type(error).__name__,
    }
    assert "x-request-id" in response.headers


def test_errors_of_the_application_stay_its_own(app: FastAPI, client: TestClient) -> None:
    @app.get("/")
    def fail() -> None:
        raise ValueError("mine")

    assert client.get("/").text == "Internal Server Error"


def test_the_applications_own_handler_for_engine_errors_wins() -> None:
    from fastapi.responses import PlainTextResponse

    async def handler(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("handled", 418)

    app = FastAPI(exception_handlers={errors.DBOSException: handler})
    install(app, FakeEngine())

    @app.get("/")
    def fail() -> None:
        raise errors.DBOSNotAuthorizedError("not you")

    with TestClient(app) as client:
        assert client.get("/").status_code == 418


def test_the_end_of_a_run_passes_through_the_applications_middleware(app: FastAPI) -> None:
    @app.middleware("http")
    async def count(request: Request, call_next):  # type: ignore[no-untyped-def]
        response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response

    @app.get("/")
    def fail() -> None:
        raise errors.ExecutorStopping("the engine is shutting down")

    with TestClient(app) as client:
        response = client.get("/")
    assert (response.status_code, response.headers["x-seen"]) == (503, "yes")


def test_something_else_than_an_application_is_refused() -> None:
    with pytest.raises(errors.DBOSInitializationError, match="not a str"):
        install("app", FakeEngine())
