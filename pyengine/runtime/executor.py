"""An executor: this process as the database knows it, with everything that runs in it.

It registers, beats, claims and runs; fenced, it lets go of what it ran and registers anew; stopped, it hands back
what is left.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from .._version import PROTOCOL
from ..db import calls
from ..db.database import Database
from ..db.rows import Claim
from ..errors import DBOSException, DBOSProtocolNotServedError, ExecutorFenced, ExecutorStopping
from ..logs import logger
from ..serialization import Codec
from .clock import ServerClock
from .committer import Committer
from .dispatcher import Dispatcher
from .execute import execute_claim, execute_in_background, execute_unknown
from .housekeeping import vouch_for_the_dead
from .incarnations import Identity, hand_back, new_nonce, register
from .io import BLOCKING, SUSPENDING, Io, run_blocking
from .limits import Limits
from .load import MAX_BUSY, Load, Runs
from .loops import WorkflowLoop
from .notifications import ANY_QUEUE, Voice
from .pruner import Pruner
from .queues import put_queue
from .registry import INTERNAL_QUEUE, QueueSpec, Registry, ScheduleSpec, WorkflowSpec
from .rest import Rest
from .results import Results
from .run import Run
from .scheduler import Scheduler
from .supervision import Supervision
from .threads import DaemonThreads
from .ticker import Ticker
from .tokens import token
from .waits import Waits

T = TypeVar("T")

# Nonces of the incarnations that run in this process. Another one of this process in the database is over.
_INCARNATIONS: set[int] = set()


class Executor:
    logger = logger

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        codec: Codec,
        application: str,
        app_version: str,
        label: str,
        lease_ttl_seconds: float,
        max_threads: int | None,
        leave: Callable[[Executor], None],
        supervision: Supervision | None = None,
        only_queues: Collection[str] | None = None,
        has_fleet: bool = False,
        notifies: bool = True,
        keep_for: timedelta | None = None,
        is_deep_idler: bool = False,
    ) -> None:
        """`leave` ends the program: called when the schema no longer serves this engine and what ran here is done.
        `only_queues`: no others are claimed from, but the internal one. `has_fleet`: other processes claim.
        `notifies`: processes tell each other of work; else all of it is found by polling. `keep_for`: what has
        finished is removed so long after it ended; None: never. `is_deep_idler`: without work it rests.
        """
        self.supervision = supervision
        self._only_queues = only_queues
        self._has_fleet = has_fleet
        self._leave = leave
        self.database = database
        self.registry = registry
        self.codec = codec
        self.application = application
        self.app_version = app_version
        self.label = label
        self.lease_ttl_seconds = lease_ttl_seconds
        self.accepts_unversioned = False
        self.notifies = notifies
        self.listener = f"{token():016x}"
        self.voice = Voice(database, application, self.listener) if notifies else None
        self.waits = Waits(self.voice)
        self._keep_for = keep_for
        self.dispatcher = Dispatcher(self)
        self.limits = Limits(supervision)
        self.load = Load(self.dispatcher.wake_starved, max_threads, max_busy=1 if self.is_isolated else MAX_BUSY)
        self.runs = Runs(self.load, self._run_ended)
        self.committer = Committer(database)
        self.results = Results(database, self.runs.holds, self.voice)
        self.threads = DaemonThreads("pyengine-workflow", max_threads)
        self.loop = WorkflowLoop()
        self.scheduler = Scheduler(self)
        self.pruner = Pruner(database)
        self.rest = Rest(self) if is_deep_idler else None
        self.ticker = Ticker(self, lease_ttl_seconds, self.rest)
        self._identity: Identity | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._hand_back_lock = threading.Lock()
        self._is_fenced = False
        self._lost: Identity | None = None
        self._is_stopping = False
        self._is_draining = False
        self._has_handed_back = False
        self.was_handed_back = False
        self._done = 0
        self._is_served = True
        self.clock: ServerClock

    # -- who we are --------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        identity = self._identity
        if identity is None:
            raise ExecutorStopping("the executor is not registered")
        return identity

    @property
    def owner(self) -> dict[str, Any]:
        return self.identity.owner

    @property
    def is_isolated(self) -> bool:
        """It claims nothing but suspects, one at a time."""
        return self.supervision is not None and self.supervision.is_isolated

    @property
    def suspects(self) -> str:
        """Whether it takes workflows that crash their process: under a supervisor these have a seat of their own."""
        if self.supervision is None:
            return "any"
        return "only" if self.is_isolated else "none"

    @staticmethod
    def is_running_here(nonce: int) -> bool:
        """Whether this process runs the incarnation of that nonce."""
        return nonce in _INCARNATIONS

    @property
    def is_of_this_process(self) -> bool:
        """False in a forked copy of the process that launched it."""
        return self._pid == os.getpid()

    def _register(self) -> None:
        nonce = new_nonce()
        self._forget_incarnation()
        _INCARNATIONS.add(nonce)
        self._identity, registration = register(self, nonce)
        self.clock = ServerClock(registration.server_time)
        self.accepts_unversioned = registration.is_latest_version

    def _forget_incarnation(self) -> None:
        if self._identity is not None:
            _INCARNATIONS.discard(self._identity.nonce)

    def ensure_registered(self) -> None:
        """Register anew after a fence. What ran under the old incarnation is not ours any more."""
        with self._lock:
            if self._is_stopping:
                raise ExecutorStopping("the engine is shutting down")
            if not self._is_fenced:
                return
            if self.supervision is not None:
                raise ExecutorStopping("this process lost its lease and is replaced")
            try:
                self._register()
            except DBOSProtocolNotServedError as error:
                self._not_served(error)
                raise
            self._is_fenced = False
        logger.info("Registered anew as executor %d", self.identity.executor_id)
        self.dispatcher.hear(ANY_QUEUE)

    def on_fenced(self, identity: Identity) -> None:
        """The database has marked this incarnation dead: everything it runs ends without an outcome."""
        with self._lock:
            if self._is_stopping or self._is_fenced or identity != self._identity:
                return
            self._is_fenced = True
            self._lost = identity
        logger.warning(
            "Executor %d was declared dead; its work is taken over and it %s",
            identity.executor_id,
            "registers anew" if self.supervision is None else "is replaced",
        )
        for run in self.runs.all():
            if run.identity == identity:
                run.interrupt(_fenced)
        if self.supervision is not None:
            self.supervision.fenced()
        self.ticker.wake()

    def check_same_server(self, server_identity: str | None) -> None:
        """After a failover the new primary may lack the last commits, our registration or claims among them."""
        if server_identity != self.identity.server_identity:
            logger.warning("Postgres failed over (%s → %s)", self.identity.server_identity, server_identity)
            raise ExecutorFenced("Postgres failed over")

    def check_served(self, oldest_protocol: int) -> None:
        """A schema that no longer serves this engine: claim nothing more, let what runs end."""
        if oldest_protocol > PROTOCOL:
            self._not_served(DBOSProtocolNotServedError(PROTOCOL, oldest_protocol))

    def _not_served(self, error: DBOSProtocolNotServedError) -> None:
        if not self._is_served:
            return
        self._is_served = False
        if self.supervision is not None:
            self.supervision.unserved()
        self.dispatcher.stop()
        self.scheduler.stop()
        logger.error("%s; this process claims nothing more, and ends when its work is done", error)
        threading.Thread(target=self._drain_and_leave, name="pyengine-drain", daemon=True).start()

    def _drain_and_leave(self) -> None:
        while self.runs.all():
            time.sleep(0.05)
        if not self._is_stopping:
            self._leave(self)

    @property
    def is_served(self) -> bool:
        return self._is_served

    # -- life --------------------------------------------------------------------------------------

    def launch(self) -> None:
        self._register()
        vouch_for_the_dead(self.database, self)
        self.database.one(calls.put_retention, application=self.application, keep_for=self._keep_for)
        self.registry.listeners.append(self._declared)
        for queue in list(self.registry.queues.values()):
            put_queue(self.database, self.application, queue)
        self.dispatcher.start()
        self.ticker.start()
        for schedule in list(self.registry.schedules.values()):
            self.scheduler.add(schedule)
        self.dispatcher.hear(ANY_QUEUE)
        self._tell_of_stranded_work()

    def _tell_of_stranded_work(self) -> None:
        stranded = self.database.all(calls.stranded_versions, application=self.application)
        if stranded:
            text = ", ".join(f"{row.unfinished} of version {row.app_version}" for row in stranded)
            logger.warning(
                "Unfinished work that no live executor can run: %s (this is version %s). "
                "Start that version, or see `pyengine doctor`",
                text,
                self.app_version,
            )

    def stop(self, *, hand_back: bool = True) -> None:
        """End in good order: claim nothing more, break off what runs, hand it to whoever comes next."""
        self._begin_stop()
        if self._declared in self.registry.listeners:
            self.registry.listeners.remove(self._declared)
        self.dispatcher.stop()
        self.scheduler.stop()
        if not self.is_of_this_process:
            return  # a forked copy: nothing of this is its own
        self.interrupt()
        if self.voice is not None:
            self.voice.stop()
        self.ticker.stop()
        self.pruner.stop()
        if hand_back:
            self.hand_back()
        self._forget_incarnation()
        self.results.stop(_stopping)
        self.threads.close()
        self.loop.stop()
        self.database.close()
        self.committer.stop()

    def _begin_stop(self) -> None:
        with self._lock:
            self._is_stopping = True
        if self.rest is not None:
            self.rest.end()

    def interrupt(self) -> None:
        """Break off every run that waits in the engine; the others end at their next engine call."""
        for run in self.runs.all():
            run.interrupt(_stopping)
        self.results.stop(_stopping)

    def interrupt_and_hand_back(self) -> None:
        """The quick end, on Ctrl-C: the process is about to go, so only what others need of it is done."""
        self._begin_stop()
        self.dispatcher.stop()
        self.scheduler.stop()
        # First: what is handed back may begin elsewhere at once, and should not go on here as well.
        self.interrupt()
        self.hand_back()
        self.database.interrupt()

    def hand_back(self) -> None:
        """Retire, and put what is left back on its queues, so that nobody waits for a lease. Not counted as a
        crash.
        """
        # Held throughout: whoever comes second must not end the process before the first is done.
        with self._hand_back_lock:
            if not self._has_handed_back and self._identity is not None and self.is_of_this_process:
                self._has_handed_back = True
                self.was_handed_back = hand_back(self)

    def begin_drain(self) -> None:
        """Claim nothing more; every run stops at its next engine call, but may finish."""
        self._is_draining = True
        self.dispatcher.stop()
        self.scheduler.stop()
        for run in self.runs.all():
            run.interrupt(_stopping, may_finish=True)

    def drain(self, seconds: float) -> None:
        """Give what runs here time to end."""
        self.dispatcher.stop()
        deadline = time.monotonic() + seconds
        while (left := self.runs.all()) and time.monotonic() < deadline:
            ids = ", ".join(run.workflow_id for run in left[:10])
            logger.info("Waiting for %d workflow(s) to complete: %s", len(left), ids)
            until = min(deadline, time.monotonic() + 1.0)
            while self.runs.all() and time.monotonic() < until:
                time.sleep(0.02)

    # -- queues and schedules ----------------------------------------------------------------------

    def serves(self, queue: str) -> bool:
        """Whether it claims from this queue."""
        if self._has_fleet:
            return False
        if queue == INTERNAL_QUEUE:
            return True
        return queue in self.registry.queues and (self._only_queues is None or queue in self._only_queues)

    def served_queues(self) -> list[str]:
        return [queue for queue in (INTERNAL_QUEUE, *self.registry.queues) if self.serves(queue)]

    def _declared(self, spec: QueueSpec | ScheduleSpec) -> None:
        """A declaration made after launch."""
        if isinstance(spec, ScheduleSpec):
            self.scheduler.add(spec)
        else:
            put_queue(self.database, self.application, spec)
            self.dispatcher.hear(spec.name)

    # -- running -----------------------------------------------------------------------------------

    async def call(self, io: Io, call: Callable[[], T]) -> T:
        """Call the database for this executor, outside of any run; fenced, register anew and repeat."""
        identity = self.identity
        try:
            return await io.database(call)
        except ExecutorFenced:
            self.on_fenced(identity)
        await io.database(self.ensure_registered)
        return await io.database(call)

    def spawn(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run a workflow that was just started here in the background, seeing the context variables of its
        starter.
        """
        self._spawn(run, partial(execute_in_background, run=run, args=args, kwargs=kwargs), contextvars.copy_context())

    def take_on(self, run: Run) -> bool:
        """Enter a run; False when it runs already. One that comes while the engine stops, or after its incarnation was
        fenced, is broken off like those before it.
        """
        if not self.runs.add(run):
            return False
        if self._is_stopping or self._is_draining:
            run.interrupt(_stopping)
        elif run.identity == self._lost or run.identity != self._identity:
            run.interrupt(_fenced)
        return True

    def run_claim(self, claim: Claim, identity: Identity) -> None:
        """Run a workflow that this incarnation claimed off a queue."""
        if self._is_stopping or self._is_draining:
            return  # it is handed back with the rest
        spec = self.registry.workflow(claim.name)
        run = Run(
            self,
            spec or WorkflowSpec(name=claim.name, function=_missing, max_recovery_attempts=None, is_async=False),
            claim.workflow_id,
            claim.fence,
            fencing_token=claim.fencing_token,
            deadline=claim.deadline,
            parent_id=claim.parent_id,
            queue=claim.queue,
            authentication=(claim.authenticated_user, claim.assumed_role, claim.authenticated_roles),
            identity=identity,
        )
        run.needs_thread = not run.spec.is_async
        if not self.take_on(run):
            return
        core = partial(execute_unknown, run=run) if spec is None else partial(execute_claim, run=run, claim=claim)
        try:
            self._spawn(run, core, contextvars.Context())
        except BaseException:
            self.runs.remove(run, is_over=False)
            raise

    def _spawn(self, run: Run, core: Callable[..., Any], context: contextvars.Context) -> None:
        if run.spec.is_async:
            self.loop.begin(run, core(SUSPENDING), context)
        else:
            self.threads.start(partial(self._run_on_thread, run, core, context))

    def _run_on_thread(self, run: Run, core: Callable[..., Any], context: contextvars.Context) -> None:
        began = time.thread_time()
        context.run(run_blocking, core(BLOCKING))
        if run.is_claimed:
            self.load.cost(time.thread_time() - began)

    def tell_progress(self) -> None:
        """The database has answered a tick."""
        if self.supervision is not None:
            self.supervision.progress(done=self._done, busy=self.runs.count)

    def _run_ended(self, run: Run) -> None:
        run.end()
        if self.supervision is not None:
            with self._lock:
                self._done += 1
                self.supervision.count(done=self._done, busy=self.runs.count)
        queue = None if run.queue is None else self.registry.queues.get(run.queue)
        if queue is not None and queue.is_limited:
            self.dispatcher.announce_slot(queue.name)


def _stopping() -> BaseException:
    return ExecutorStopping("the engine is shutting down")


def _fenced() -> BaseException:
    return ExecutorFenced("this executor was declared dead")


def _missing(*args: Any, **kwargs: Any) -> Any:
    raise DBOSException("the function of this workflow is not registered")
