"""FastAPI (or Starlette) and the engine: one lifespan, workflow ids from a header, engine errors as JSON.

`DBOS(fastapi=app)` calls `install`. Endpoints that are workflows then need nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from contextvars import Token
from dataclasses import replace
from typing import Any, Protocol

from ..errors import (
    ClaimLost,
    DBOSBaseException,
    DBOSException,
    DBOSInitializationError,
    DBOSNotAuthorizedError,
    ExecutorFenced,
    ExecutorStopping,
)
from ..runtime.context import Settings, WorkflowIDRequest, current_settings
from ..runtime.signals import remove_interrupt_hook

IDEMPOTENCY_HEADER = "dbos-idempotency-key"
REQUEST_ID_HEADER = "x-request-id"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# These end a run but are no Exception, so no handler of the application sees them.
_ENDED_ELSEWHERE = (ExecutorStopping, ClaimLost, ExecutorFenced)
_RUN_ENDED = (*_ENDED_ELSEWHERE, DBOSBaseException)


class Engine(Protocol):
    """What the application's lifespan starts and stops: the class DBOS, or an instance of it."""

    def launch(self) -> None: ...

    def destroy(self) -> None: ...


def install(app: Any, dbos: Engine) -> None:
    """Launch the engine when `app` has started up and destroy it when it shuts down. Once per application."""
    try:
        from starlette.applications import Starlette
    except ImportError as error:
        raise DBOSInitializationError(
            "DBOS(fastapi=…) needs FastAPI, which is not installed; in a checkout: pip install '.[fastapi]'"
        ) from error
    if not isinstance(app, Starlette):
        raise DBOSInitializationError(f"DBOS(fastapi=…) takes a FastAPI application, not a {type(app).__qualname__}")
    if getattr(app.state, "pyengine", None) is not None:
        app.state.pyengine = dbos  # the same application, another engine: tests do this
        return
    app.state.pyengine = dbos
    app.router.lifespan_context = _with_engine(app.router.lifespan_context, app)
    app.add_middleware(EngineMiddleware)
    app.exception_handlers.setdefault(DBOSException, _respond_to_engine_error)


def _with_engine(original: Callable[[Any], Any], app: Any) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        from anyio import to_thread

        # Inside the application's own lifespan: workflows that are resumed at launch find what it has set up, and what
        # it takes down is no longer in use by them.
        async with original(application) as state:
            engine = app.state.pyengine
            engine.launch()
            try:
                yield state
            finally:
                # In a thread: what is to end may need this very event loop.
                await to_thread.run_sync(engine.destroy)
                remove_interrupt_hook()  # only the main thread can take it out

    return lifespan


class EngineMiddleware:
    """Plain ASGI, so that endpoints in the thread pool see the context set here."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response = _Response(scope, receive, send)
        token = _request_workflow_id(_header(scope, IDEMPOTENCY_HEADER))
        try:
            await self._app(scope, receive, response.send)
        except _RUN_ENDED as error:
            # Otherwise the server prints a traceback for what is the ordinary end of a run.
            if response.has_started:
                raise
            await response.send_json(_status_of(error), _describe(error))
        finally:
            if token is not None:
                current_settings.reset(token)


class _Response:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.has_started = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = _header(scope, REQUEST_ID_HEADER) or str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = self._request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            name = REQUEST_ID_HEADER.encode()
            headers = list(message.get("headers", ()))
            if not any(key.lower() == name for key, _ in headers):
                headers.append((name, self._request_id.encode("latin-1")))
            message = {**message, "headers": headers}
        await self._send(message)

    async def send_json(self, status: int, content: dict[str, Any]) -> None:
        from starlette.responses import JSONResponse

        await JSONResponse(content, status)(self._scope, self._receive, self.send)


def _header(scope: Scope, name: str) -> str | None:
    wanted = name.encode()
    found = next((value for key, value in scope["headers"] if key.lower() == wanted), b"")
    return found.decode("latin-1").strip() or None


def _request_workflow_id(workflow_id: str | None) -> Token[Settings] | None:
    """The endpoint's workflow takes this id, as in a `with SetWorkflowID(…)` block."""
    if workflow_id is None:
        return None
    return current_settings.set(replace(current_settings.get(), id_request=WorkflowIDRequest(workflow_id)))


async def _respond_to_engine_error(request: Any, error: Exception) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(_describe(error), _status_of(error))


def _status_of(error: BaseException) -> int:
    if isinstance(error, DBOSNotAuthorizedError):
        return 403
    return 503 if isinstance(error, _ENDED_ELSEWHERE) else 500


def _describe(error: BaseException) -> dict[str, Any]:
    code = getattr(error, "dbos_error_code", None)
    return {
        "message": getattr(error, "message", None) or str(error),
        "dbos_error_code": None if code is None else str(code),
        "dbos_error": type(error).__name__,
    }
