"""Deep idle: an executor that has had nothing to do for a while makes one call a minute and polls nothing.

While it rests it holds no work, and its lease is long: its death harms nobody. What it writes as itself (a claim, a
start, an enqueue, a schedule's slot) waits at the gate until it has beaten with its ordinary lease. So whatever has
such a write to make wakes it: news of a queue, the program, the scheduler. So does what the database said would be
due, and a call of the minute that finds that somebody works: then it has to look after them, as they after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..db import calls
from ..db.database import Session
from ..db.function import Function
from ..logs import logger
from .notifications import ANY_QUEUE

if TYPE_CHECKING:
    from .executor import Executor
    from .incarnations import Identity

# Without any work for so long, it rests.
QUIET_SECONDS = 60.0
REST_SECONDS = 60.0
# Of calls that are to be made every so often two may be late.
LEASE_RESTS = 3
# Somebody else works, or something is due: asked again after this.
AGAIN_SECONDS = 10.0


class Gate:
    """The way of all calls that this executor makes as itself. It is shut when nobody is on it, and for as long as
    nobody wants to pass. Claims that are polled for are no acts.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._passing = 0
        self._waiting = 0
        self._is_shut = False
        self._is_over = False
        self._quiet_since = time.monotonic()
        self.on_wanted: Callable[[], None] = _nothing

    @contextmanager
    def __call__(self, function: Function[Any]) -> Iterator[None]:
        with self._changed:
            if self._is_shut:
                self._waiting += 1
                try:
                    self.on_wanted()
                    self._changed.wait_for(lambda: not self._is_shut)
                finally:
                    self._waiting -= 1
            self._passing += 1
        try:
            yield
        finally:
            with self._changed:
                self._passing -= 1
                if function is not calls.claim_workflows:
                    self._quiet_since = time.monotonic()

    @property
    def is_shut(self) -> bool:
        return self._is_shut

    @property
    def is_wanted(self) -> bool:
        return self._waiting > 0

    def act(self) -> None:
        """Something happened here."""
        with self._changed:
            self._quiet_since = time.monotonic()

    def shut(self) -> bool:
        """If it has been quiet for long enough."""
        with self._changed:
            is_quiet = time.monotonic() - self._quiet_since >= QUIET_SECONDS
            self._is_shut = is_quiet and self._passing == 0 and not self._is_over
            return self._is_shut

    def open(self) -> None:
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()

    def end(self) -> None:
        """It is never shut again."""
        self._is_over = True
        self.open()


class Rest:
    """The ticker's: it says when to rest, and is asked before each tick. `heard` and `end` are for any thread."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._gate = executor.database.gate = Gate()
        self._gate.on_wanted = self._wake
        self.is_on = False
        self._has_heard = False
        self._next = 0.0
        self._due = float("inf")

    def heard(self, queue: str) -> None:
        """News of work, whoever is to do it: who does is to be looked after."""
        self._has_heard = True
        self._executor.dispatcher.hear(queue)
        if self.is_on:
            self._wake()

    def end(self) -> None:
        self._gate.end()

    def seconds_left(self) -> float:
        """Until the next call, if nothing comes in between."""
        return max(0.0, min(self._next, self._due) - time.monotonic())

    def goes_on(self, session: Session, identity: Identity) -> bool:
        """Whether it rests on, when it was woken or its time is over. The gate stays shut until `beaten`."""
        if not self.is_on:
            return False
        self.is_on = False
        now = time.monotonic()
        # Woken before its time: by who wants to pass, by a signal, by a link that broke.
        if not self._gate.is_wanted and self._next <= now < self._due and self._ask(session, identity):
            self.is_on = True
        return self.is_on

    @property
    def wants_beat(self) -> bool:
        """The lease is a long one, or may be: the answer to the last question was lost."""
        return self._gate.is_shut

    def beaten(self) -> None:
        """The lease is the ordinary one."""
        if not self._gate.is_shut:
            return
        self._next = 0.0
        self._gate.act()
        self._gate.open()
        logger.debug("Awake")
        # Others are to look after this one. What it heard, they did.
        tell = self._executor.dispatcher.hear if self._has_heard else self._executor.dispatcher.announce
        tell(ANY_QUEUE)

    def ticked(self, session: Session, identity: Identity, *, is_busy: bool) -> None:
        """At the end of a tick: rest, if there is nothing else to do."""
        now = time.monotonic()
        dispatcher = self._executor.dispatcher
        if is_busy or self._executor.runs.count > 0:
            self._gate.act()
        elif now >= self._next and self._gate.shut():
            self._next = now + AGAIN_SECONDS
            self._has_heard = False
            # Before the question: what is told of from here on wakes, what was told of before is in the answer.
            left = dispatcher.rest()
            self.is_on = self._ask(session, identity)
            if self.is_on:
                if self._executor.supervision is not None:
                    self._executor.supervision.resting(REST_SECONDS)
                logger.debug("Resting")
            else:
                self._gate.open()
                for queue in left:
                    dispatcher.hear(queue)

    def _ask(self, session: Session, identity: Identity) -> bool:
        executor = self._executor
        answer = session.one(
            calls.rest_executor,
            **identity.owner,
            queues=executor.served_queues(),
            accepts_unversioned=executor.accepts_unversioned,
            rests_for=timedelta(seconds=LEASE_RESTS * REST_SECONDS),
        )
        executor.clock.set(answer.server_time)
        executor.check_served(answer.oldest_protocol)
        executor.check_same_server(answer.server_identity)
        now = time.monotonic()
        if answer.may_rest:
            if self._has_heard:
                self._wake()  # meanwhile
            self._next = now + REST_SECONDS
            self._due = now + (float("inf") if answer.due_in is None else answer.due_in)
        else:
            logger.debug("Not resting: %s", answer.reason)
        return answer.may_rest

    def _wake(self) -> None:
        self._executor.ticker.wake()


def _nothing() -> None:
    return None


def describe(*, hears: bool) -> str:
    """For the log, at the start."""
    told = f"after {QUIET_SECONDS:g} s without work one call every {REST_SECONDS:g} s (idle: deep)"
    if hears:
        return told
    return f"{told}; without notifications work that others enqueue is found within {REST_SECONDS:g} s then"
