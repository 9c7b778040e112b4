"""What somebody has to do for the whole fleet about once a second. Whoever gets the lock does it; each duty is a
call of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..db import calls
from ..db.database import Database, Session
from ..db.rows import Duty, HostExecutor
from ..logs import logger
from .host import is_gone, process_started, this_process

if TYPE_CHECKING:
    from .executor import Executor

_TAKEOVER_CHUNK = 500
_ROUNDS = 1000
_LOCKED_SECONDS = 0.01
_SWEEP = 1000


def keep_house(session: Session, executor: Executor, duties: Iterable[Duty]) -> bool:
    """What a round found to be done. Returns whether work became claimable."""
    moved = False
    for duty in duties:
        if duty.duty == "take_over" and duty.subject is not None:
            moved = take_over(session, duty.subject) > 0 or moved
        elif duty.duty == "release_delayed":
            moved = session.one(calls.release_delayed, limit=_SWEEP) > 0 or moved
        elif duty.duty == "expire_deadlines" and session.one(calls.expire_deadlines, limit=_SWEEP):
            executor.ticker.wake()  # some may run here: the next tick tells them
        elif duty.duty == "look_again":
            executor.ticker.look_again()
        elif duty.duty == "prune_executors":
            session.one(calls.prune_executors, limit=_SWEEP)
        elif duty.duty == "prune_workflows":
            executor.pruner.begin()
    return moved


def take_over(way: Session | Database, dead_id: int, *, verb: str = "Took over") -> int:
    """Move a dead executor's work back to its queues. Returns how many workflows were moved."""
    moved = move_work(way, dead_id)
    if moved:
        logger.info("%s %d workflow(s) of executor %d", verb, moved, dead_id)
    return moved


def move_work(
    way: Session | Database,
    dead_id: int,
    *,
    patience_seconds: float = 0.0,
    between_chunks: Callable[[], None] = lambda: None,
) -> int:
    """A takeover chunk by chunk, without a word of what was moved: how many. Rows that somebody's transaction keeps
    locked are tried again for so long in all; then they are left to whoever keeps house next.
    """
    moved = quarantined = 0
    patience = time.monotonic() + patience_seconds
    for _ in range(_ROUNDS):
        chunk = way.one(calls.take_over_executor, dead_id=dead_id, limit=_TAKEOVER_CHUNK)
        moved += chunk.moved
        quarantined += chunk.quarantined
        if not chunk.remaining:
            break
        if chunk.moved + chunk.quarantined == 0:
            if time.monotonic() >= patience:
                break
            time.sleep(_LOCKED_SECONDS)
        between_chunks()
    if quarantined:
        logger.error("%d workflow(s) of executor %d exceeded their maximum of recovery attempts", quarantined, dead_id)
    return moved


def has_supervisor(other: HostExecutor) -> bool:
    """Whether somebody who knows what it died of is there to say so."""
    if not other.is_supervised:
        return False
    try:
        parent = int(other.seat.rpartition("/")[2].partition(":")[0])
    except ValueError:
        return False
    return process_started(parent) is not None


def vouch_for_the_dead(way: Session | Database, executor: Executor) -> bool:
    """Hand over at once what killed processes of this very host left behind, and what this one could not hand back
    before: no lease has to run out, and no grace after a restart of the server to end. Returns whether work became
    claimable.
    """
    me = this_process()
    moved = 0
    for other in way.all(calls.list_host_executors, boot_id=me.boot_id, pid_namespace=me.pid_namespace):
        if (other.pid, other.process_started) == (me.pid, me.process_started):
            is_over, reason = not executor.is_running_here(other.nonce), "handed_over"
        else:
            is_over = is_gone(other.pid, other.process_started) and not has_supervisor(other)
            reason = "process_gone"
        if not is_over:
            continue
        way.one(
            calls.mark_executor_dead,
            executor_id=other.executor_id,
            nonce=other.nonce,
            reason=reason,
            detail=f"process {other.pid}",
            culprit=None,
        )
        moved += take_over(way, other.executor_id)
    return moved > 0
