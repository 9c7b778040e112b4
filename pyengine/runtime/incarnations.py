"""Incarnations: how a process becomes an executor of the database, and how one that ends hands its work back."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from .._version import PROTOCOL
from ..db import calls
from ..db.database import Home, Session
from ..db.rows import Registration
from ..errors import ExecutorFenced
from ..logs import logger
from .host import this_process
from .housekeeping import take_over
from .notifications import ANY_QUEUE

if TYPE_CHECKING:
    from .executor import Executor

_HAND_BACK_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Identity:
    """An executor incarnation: the id the database gave, and the nonce that proves who asked for it."""

    executor_id: int
    nonce: int
    server_identity: str

    @property
    def owner(self) -> dict[str, Any]:
        """The arguments by which the database knows it."""
        return {"executor_id": self.executor_id, "nonce": self.nonce}


def register(executor: Executor, nonce: int) -> tuple[Identity, Registration]:
    """Make this process an executor. From here on its calls go to the server it registered on, and no other."""
    me = this_process()
    supervision, database = executor.supervision, executor.database
    is_pooled = database.find_pooler()
    registration = database.one(
        calls.register_executor,
        nonce=nonce,
        label=executor.label,
        host=me.host,
        pid=me.pid,
        boot_id=me.boot_id,
        pid_namespace=me.pid_namespace,
        process_started=me.process_started,
        application=executor.application,
        app_version=executor.app_version,
        protocol=PROTOCOL,
        lease_ttl=timedelta(seconds=executor.lease_ttl_seconds),
        seat=f"{me.host}/{executor.label}" if supervision is None else supervision.seat,
        is_supervised=supervision is not None,
        is_isolated=executor.is_isolated,
        is_pooled=is_pooled,
    )
    database.settle(Home(nonce, registration.server_identity, is_pooled))
    if supervision is not None:
        supervision.registered(registration.executor_id, nonce)
    return Identity(registration.executor_id, nonce, registration.server_identity), registration


def new_nonce() -> int:
    """Of the system's own randomness: no other process, nor a copy of this one, may draw the same."""
    return secrets.randbits(63)


def hand_back(executor: Executor) -> bool:
    """Retire, and put what is left back on its queues. Returns whether the database knows."""
    database, identity = executor.database, executor.identity
    try:
        # A connection of its own: the pool may be busy, and this must not wait for long.
        session = Session(
            database.connect(connect_timeout=_HAND_BACK_SECONDS), database.schema, within_seconds=_HAND_BACK_SECONDS
        )
    except psycopg.Error as error:
        _could_not(error)
        return False
    try:
        session.one(calls.retire_executor, **identity.owner, reason="retired")
        if take_over(session, identity.executor_id, verb="Handed back") and executor.notifies:
            session.one(calls.notify_queues, application=executor.application, queues=[ANY_QUEUE])
    except (psycopg.Error, ExecutorFenced) as error:
        _could_not(error)
        return False
    finally:
        session.close()
    return True


def _could_not(error: BaseException) -> None:
    logger.warning("Could not hand back unfinished work (%s); it is taken over when the lease ends", str(error).strip())
