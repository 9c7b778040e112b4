"""Claims: takes work off the queues when there is some and room for it, and starts running it.

A queue is looked at when this process put something on it or freed a slot of it, when the tick saw work, and for
a while after it had some: polling backs off from 50 ms to a second, where the tick takes over. Polling alone
suffices; everything else only makes it quicker.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..db import calls
from ..db.retry import Backoff
from ..db.rows import Claim
from ..errors import ExecutorFenced, ExecutorStopping
from ..logs import logger
from .low_water import LowWater
from .notifications import ANY_QUEUE
from .tokens import token

if TYPE_CHECKING:
    from .executor import Executor
    from .incarnations import Identity

BATCH = 128
_TICK_SECONDS = 1.0
# News that come one upon the other are claimed together: the first at once, and what comes meanwhile by the next claim.
_APART_SECONDS = 0.003


_IN_SERVICE = float("inf")


@dataclass(slots=True)
class _Poll:
    """When to look at a queue next, as a time.monotonic() instant; None leaves it to the tick and to wakes. Of those
    that are due together, the longest unserved comes first.
    """

    ceiling: float
    # Of the queue's rate, in seconds. What it allows comes back in one go, a period after it was used up.
    period: float | None = None
    due: float | None = None
    served: float = 0.0
    found_at: float = -_IN_SERVICE
    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.05, ceiling=_TICK_SECONDS))
    low_water: LowWater = field(default_factory=LowWater)

    def after(self, found: int) -> float | None:
        now = time.monotonic()
        if found:
            self.backoff.reset()
            self.found_at = now
        delay = self.backoff.next()
        if self.period is not None and now - self.found_at <= self.period * 1.2:
            return now + min(delay, self.period / 10, self.ceiling)
        if self.backoff.current >= _TICK_SECONDS <= self.ceiling and not self.low_water.is_wading:
            return None
        return now + min(delay, self.ceiling)


class Dispatcher:
    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._changed = threading.Condition(threading.Lock())
        self._polls: dict[str, _Poll] = {}
        self._starved: dict[str, None] = {}
        self._is_stopped = False
        self._thread = threading.Thread(target=self._loop, name="pyengine-dispatcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def announce(self, queue: str, *, may_run_here: bool = True) -> None:
        """This process committed work on a queue: look, and tell others to."""
        self._tell(queue)
        if may_run_here:
            self.hear(queue)

    def announce_slot(self, queue: str) -> None:
        """This process freed a slot of a queue: look now, and tell others to."""
        self._tell(queue)
        self._look((queue,), is_new=True)

    def hear(self, queue: str) -> None:
        """There may be work on a queue, or on any."""
        queues = self._executor.served_queues() if queue == ANY_QUEUE else (queue,)
        self._look(queues, is_new=True, apart=_APART_SECONDS)

    def hint(self, *queues: str) -> None:
        """The tick saw work on these queues. It may be the same that limits held back a second ago: the back-off
        stays.
        """
        self._look(queues, is_new=False)

    def probed(self) -> list[str]:
        """The queues that are left to the tick's look: it begins at their heads, so those with a long way from there to
        their work are polled.
        """
        served = self._executor.served_queues()
        return [queue for queue in served if (poll := self._polls.get(queue)) is None or not poll.low_water.is_wading]

    def rest(self) -> list[str]:
        """Leave all queues alone until there is news of them; those that would have been looked at."""
        with self._changed:
            planned = [queue for queue, poll in self._polls.items() if poll.due not in (None, _IN_SERVICE)]
            for queue in planned:
                self._polls[queue].due = None
            return planned

    def wake_starved(self, apart: float) -> None:
        """There is room again for what had to be left on its queue. `apart`: so many seconds after its last claim."""
        with self._changed:
            starved = tuple(self._starved)
        self._look(starved, is_new=False, apart=apart)

    def _tell(self, queue: str) -> None:
        # Before this process looks itself: the others have further to go.
        if self._executor.voice is not None:
            self._executor.voice.tell(queue)

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _look(self, queues: Iterable[str], *, is_new: bool, apart: float = 0.0) -> None:
        now = time.monotonic()
        queues = [queue for queue in queues if self._executor.serves(queue)]
        if not queues:
            return  # somebody else's
        with self._changed:
            for queue in queues:
                poll = self._poll(queue)
                due = max(now, poll.served + apart)
                poll.due = due if poll.due is None else min(poll.due, due)
                if is_new:
                    poll.backoff.reset()
            self._changed.notify()

    def _poll(self, queue: str) -> _Poll:
        poll = self._polls.get(queue)
        if poll is None:
            spec = self._executor.registry.queues.get(queue)
            poll = self._polls[queue] = _Poll(
                _TICK_SECONDS if spec is None else spec.polling_interval_sec, None if spec is None else spec.rate_period
            )
        return poll

    # -- the loop ----------------------------------------------------------------------------------

    def _loop(self) -> None:
        while (queue := self._next()) is not None:
            try:
                self._serve(queue)
            except ExecutorStopping:
                return
            except ExecutorFenced:
                self._later(queue, 0.5)
            except Exception:
                logger.exception("Claiming from queue %s failed; it is tried again", queue)
                self._later(queue, 1.0)

    def _next(self) -> str | None:
        with self._changed:
            while not self._is_stopped:
                now = time.monotonic()
                planned = [(poll.due, queue) for queue, poll in self._polls.items() if poll.due is not None]
                due = [queue for at, queue in planned if at <= now]
                if due:
                    queue = min(due, key=lambda each: self._polls[each].served)
                    # Planned anew when it has been served; a wake that comes meanwhile stands.
                    self._polls[queue].due = _IN_SERVICE
                    self._polls[queue].served = now
                    return queue
                delay = min((at for at, _ in planned), default=_IN_SERVICE) - now
                self._changed.wait(None if delay == _IN_SERVICE else delay)
            return None

    def _later(self, queue: str, delay: float) -> None:
        with self._changed:
            self._replan(queue, time.monotonic() + delay)

    def _replan(self, queue: str, due: float | None) -> None:
        poll = self._polls[queue]
        if poll.due == _IN_SERVICE:
            poll.due = due

    def _serve(self, queue: str) -> None:
        """One claim, if there is room for it."""
        executor = self._executor
        with self._changed:
            # Before the look: room that comes right after it must find the queue here.
            self._starved[queue] = None
        room = executor.load.room()
        if room == 0:
            wait = executor.load.look_again_after()
            with self._changed:
                self._replan(queue, None if wait is None else time.monotonic() + wait)
            return
        with self._changed:
            self._starved.pop(queue, None)
        limit = min(room, BATCH)
        identity = executor.identity
        claims = self._claim(identity, queue, limit)
        if claims and claims[0].verdict == "busy":
            self._later(queue, random.uniform(0.002, 0.010))
            return
        for claim in claims:
            executor.run_claim(claim, identity)
        with self._changed:
            poll = self._polls[queue]
            due = poll.after(len(claims))
            # A full batch: there is probably more. The other queues have their turn first.
            self._replan(queue, time.monotonic() if len(claims) == limit else due)

    def _claim(self, identity: Identity, queue: str, limit: int) -> list[Claim]:
        low_water, unversioned = self._polls[queue].low_water, self._executor.accepts_unversioned
        began = time.monotonic()
        mark = low_water.mark(began, unversioned=unversioned)
        try:
            claims = self._executor.database.all(
                calls.claim_workflows,
                **identity.owner,
                fence=token(),
                queue=queue,
                limit=limit,
                unversioned=unversioned,
                suspects=self._executor.suspects,
                from_partitions=None if mark is None else mark.partitions,
                from_priorities=None if mark is None else mark.priorities,
                from_seqs=None if mark is None else mark.seqs,
                from_served_at=None if mark is None else mark.served_at,
            )
        except ExecutorFenced:
            self._executor.on_fenced(identity)
            raise
        if not claims or claims[0].verdict != "busy":
            low_water.learn(claims, mark, began, time.monotonic())
        return [] if claims and claims[0].verdict == "waded" else claims
