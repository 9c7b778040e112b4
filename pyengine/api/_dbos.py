"""The DBOS class: the engine of a process, under the names users know."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .. import logs
from ..config import DBOSConfig, resolve
from ..config.notes import announcer
from ..errors import DBOSException, DBOSInitializationError
from ..runtime import signals, starts, supervision
from ..runtime.context import StepStatus, current_frame, current_settings
from ..runtime.executor import Executor
from ..runtime.fleet import Fleet
from ..runtime.io import BLOCKING, SUSPENDING, Io, run_blocking
from ..runtime.registry import REGISTRY
from . import _decorators
from ._classproperty import classproperty
from ._engine import start_executor, wants_fleet
from ._fencing import Fencing
from ._fleet import start_fleet
from ._handles import WorkflowHandle, WorkflowHandleAsync
from ._management import Management
from ._state import STATE, executor

if TYPE_CHECKING:
    from fastapi import FastAPI

# What a step may take to end in an executor process, when nobody said how long destroy() is to wait.
_FLEET_GRACE_SECONDS = 5.0

P = ParamSpec("P")
R = TypeVar("R")


class DBOS(Management, Fencing):
    """Durable execution. Create one, decorate functions, call `DBOS.launch()`.

    config: see DBOSConfig; without it `dbos-config.yaml`, the environment and finally the defaults decide.
    fastapi: an application whose start launches the engine and whose end destroys it. A second `DBOS()` returns
    the first and ignores its arguments.
    """

    workflow = staticmethod(_decorators.workflow)
    step = staticmethod(_decorators.step)
    scheduled = staticmethod(_decorators.scheduled)

    executor: Executor | None

    def __new__(cls, *args: Any, **kwargs: Any) -> DBOS:
        if STATE.instance is None:
            return super().__new__(cls)
        return STATE.instance

    def __init__(
        self,
        *,
        config: DBOSConfig | dict[str, Any] | None = None,
        fastapi: FastAPI | None = None,
        flask: Any = None,
        conductor_url: str | None = None,
        conductor_key: str | None = None,
    ) -> None:
        if STATE.instance is self:
            return
        self.executor = None
        self._fleet: Fleet | None = None
        self._release: Callable[[], None] = _nothing
        self._lock = threading.RLock()
        self._config = resolve(supervision.assigned(config), announce=False)
        logs.configure(self._config.log_level, self._config.console_log_level)
        logs.logger.info("Initializing DBOS")
        announcer.announce(self._config.notes)
        if conductor_key or conductor_url:
            logs.logger.warning("conductor_key and conductor_url do nothing: recovery on other hosts is built in")
        if flask is not None:
            raise DBOSInitializationError(
                "flask= is not supported: call DBOS.launch() where the Flask application starts"
            )
        if fastapi is not None:
            from ..integrations import fastapi as integration

            integration.install(fastapi, _Lifespan(self))
        STATE.instance = self

    # -- life --------------------------------------------------------------------------------------

    @classmethod
    def launch(cls) -> None:
        """Connect, install or check the schema, and begin to run work: this process is an executor from here on.

        Raises DBOSInitializationError when that cannot be, DBOSException without a DBOS() before. A second call
        only warns.
        """
        if supervision.importing is not None:
            raise DBOSException(
                f"DBOS.launch() was called while {supervision.importing} was imported: `pyengine worker` launches it "
                'itself. Put the call under `if __name__ == "__main__":`'
            )
        if STATE.instance is None:
            raise DBOSException("DBOS.launch() was called before DBOS(): create DBOS() first")
        STATE.instance._launch()

    def _launch(self) -> None:
        with self._lock:
            if self.executor is not None:
                logs.logger.warning("DBOS was already launched")
                return
            try:
                opened, launched = start_executor(self._config)
            except Exception as error:
                logs.logger.error("DBOS failed to launch: %s", error)
                raise
            self.executor, self._release = launched, opened.release
            if wants_fleet(self._config):
                self._start_fleet(launched)
            if supervision.current is None:  # else the parent answers Ctrl-C
                signals.install_interrupt_hook(launched.interrupt_and_hand_back)
            atexit.register(self._at_exit)
            logs.logger.info("DBOS launched")

    def _start_fleet(self, launched: Executor) -> None:
        try:
            self._fleet = start_fleet(self._config, launched, self._config.executor_processes or 1)
        except BaseException:
            self.executor = None
            launched.stop()
            self._release()
            raise

    @classmethod
    def destroy(cls, *, destroy_registry: bool = False, workflow_completion_timeout_sec: float = 0) -> None:
        """Stop: claim nothing more, wait so many seconds for what runs here, break off the rest and hand it back.

        Unfinished workflows stay unfinished and go on elsewhere, or here after the next launch. destroy_registry:
        forget the decorated functions and queues, too. Executor processes get the same time, at least 5 seconds
        for the steps they are in.
        """
        instance, STATE.instance = STATE.instance, None
        if instance is not None:
            instance._destroy(workflow_completion_timeout_sec)
        if destroy_registry:
            REGISTRY.clear()

    def _destroy(self, completion_timeout: float) -> None:
        with self._lock:
            running, self.executor = self.executor, None
            if running is None:
                return
            atexit.unregister(self._at_exit)
            signals.remove_interrupt_hook()
            fleet, self._fleet = self._fleet, None
            until = time.monotonic() + (completion_timeout or _FLEET_GRACE_SECONDS)
            if fleet is not None:
                fleet.begin_end()
            if completion_timeout > 0:
                running.drain(completion_timeout)
            running.stop()
            if fleet is not None:
                fleet.end(until - time.monotonic())
            self._release()
        logs.logger.info("DBOS successfully shut down")

    def _at_exit(self) -> None:
        """The program ends without destroy(): hand back what is left, quickly."""
        running, fleet = self.executor, self._fleet
        if fleet is not None:
            fleet.let_go()
        if running is not None:
            running.interrupt_and_hand_back()
            self._release()

    def _forget_executor(self) -> None:
        """In a forked child: the parent's executor is not ours. It may launch one of its own."""
        self._lock = threading.RLock()
        self.executor = None
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            fleet.forget()
        self._release = _nothing

    @classmethod
    def reset_system_database(
        cls, *, system_database_url: str | None = None, schema: str | None = None, truncate: bool = False
    ) -> None:
        """Delete all of the engine's data, the schema included: for tests and development. Only before launch.

        The database itself is dropped only if the engine created it. `truncate` is accepted: what is dropped is
        installed again at launch.
        """
        from ._reset import reset

        instance = STATE.instance
        if instance is not None and instance.executor is not None:
            raise DBOSException("DBOS.reset_system_database() must be called before DBOS.launch()")
        if instance is None and system_database_url is None:
            logs.logger.warning(
                "DBOS.reset_system_database() does nothing: there is no DBOS() and no system_database_url"
            )
            return
        config = resolve({"name": "reset"}, url_flag=system_database_url) if instance is None else instance._config
        reset(config, system_database_url=system_database_url, schema=schema)

    # -- starting workflows ------------------------------------------------------------------------

    @classmethod
    def start_workflow(cls, func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> WorkflowHandle[R]:
        """Start a workflow (or a step) in the background. It is durable when this returns."""
        return WorkflowHandle(run_blocking(cls._start(BLOCKING, func, args, kwargs)))

    @classmethod
    async def start_workflow_async(
        cls, func: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> WorkflowHandleAsync[R]:
        """As start_workflow, from async code."""
        return WorkflowHandleAsync(await cls._start(SUSPENDING, func, args, kwargs))

    @classmethod
    async def _start(cls, io: Io, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        spec = _decorators.workflow_spec(func, "DBOS.start_workflow")
        engine = executor(f"workflow {spec.name}")
        started = await starts.start(io, engine, spec, args, kwargs, starts.draw_parent(spec))
        if started.run is not None:
            engine.spawn(started.run, args, kwargs)
        return started.workflow_id

    # -- where the calling code is -----------------------------------------------------------------

    logger = logs.logger

    @classproperty
    def workflow_id(cls) -> str | None:
        """The id of the current workflow, None outside of one."""
        frame = current_frame.get()
        return None if frame is None else frame.run.workflow_id

    @classproperty
    def parent_workflow_id(cls) -> str | None:
        """The id of the current workflow's parent."""
        frame = current_frame.get()
        return None if frame is None else frame.run.parent_id

    @classproperty
    def step_id(cls) -> int | None:
        """The number of the current step, None outside of one."""
        status = cls.step_status
        return None if status is None else status.step_id

    @classproperty
    def step_status(cls) -> StepStatus | None:
        """The current step's number, attempt (from 0) and maximum of attempts."""
        frame = current_frame.get()
        return None if frame is None else frame.step

    @classproperty
    def application_version(cls) -> str:
        """The version whose work this process runs."""
        return executor("DBOS.application_version").app_version

    @classproperty
    def executor_id(cls) -> str:
        """The label of this executor. A label only: two processes may share one."""
        return executor("DBOS.executor_id").label

    @classproperty
    def authenticated_user(cls) -> str | None:
        return current_settings.get().authenticated_user

    @classproperty
    def authenticated_roles(cls) -> list[str] | None:
        return current_settings.get().authenticated_roles

    @classproperty
    def assumed_role(cls) -> str | None:
        return current_settings.get().assumed_role


class _Lifespan:
    """The engine of an application whose lifespan may come more than once, as it does in tests."""

    def __init__(self, dbos: DBOS) -> None:
        self._dbos = dbos

    def launch(self) -> None:
        if STATE.instance is None:
            STATE.instance = self._dbos
        STATE.instance._launch()

    def destroy(self) -> None:
        DBOS.destroy()


def _nothing() -> None:
    return None


def _after_fork_in_child() -> None:
    REGISTRY.forget_listeners()
    if STATE.instance is not None:
        STATE.instance._forget_executor()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
