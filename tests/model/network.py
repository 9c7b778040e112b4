"""The network between clients and the database: calls are messages, which it loses, delays and repeats.

Every call carries its tokens. It may be answered, its answer may be lost, it may arrive later, again, or in a
transaction that then stays open: a client that froze. The real functions answer; the model says what they must answer.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine

from model.ownership import Change, Member, Ownership, nothing
from plugins.clock import Clock
from plugins.executors import Connection, Executor, read
from plugins.sessions import backend_pid, wait_until

FENCED, BLOCKED = "WF001", "55P03"


@dataclass(frozen=True)
class Message:
    """One call, complete: `send` makes it over a connection, `judge` is the model's view of the answer."""

    what: str
    member: Member | None
    send: Callable[[Connection], Any]
    judge: Callable[[Any], Change]
    fence: int | None = None  # of a claim

    def __str__(self) -> str:
        return self.what + (f" by {self.member.executor_id}" if self.member else "")


@dataclass
class Frozen:
    """A call in a transaction that is still open, and what it changes when it is committed."""

    message: Message
    connection: Connection
    change: Change = nothing
    patience: int = 6  # calls until it goes on: most of what comes meanwhile only waits
    is_lost: bool = False


def ask(call: Callable[[], Any]) -> Any:
    """The answer, or the SQLSTATE of the refusal."""
    try:
        return call()
    except psycopg.Error as refused:
        return refused.sqlstate


def pick(several: list[Any], place: int) -> Any:
    return several[-1 - place % len(several)]


class Sessions:
    """The database and its connections, shared by all stories of a run."""

    def __init__(self, connect: Callable[..., Connection]) -> None:
        self._connect = connect
        self.observer = connect(options="-c lock_timeout=10s")
        self.clock = Clock(self.observer)
        self.users = self.open()
        self.members: list[Connection] = []
        self.has_failed = False

    def open(self) -> Connection:
        # One call after the other: whoever waits for a lock waits for somebody frozen, and would for ever.
        return self._connect(options="-c lock_timeout=50ms")

    def of_member(self, place: int) -> Connection:
        """Few connections: some executors of one story share one. None does more than one call at a time."""
        while len(self.members) <= place % 4:
            self.members.append(self.open())
        return self.members[place % 4]


class Network(RuleBasedStateMachine):
    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self.sessions = sessions
        self.model = Ownership()
        self.executors: dict[int, Executor] = {}
        self.messages: list[Message] = []
        self.frozen: Frozen | None = None
        self.has_failed = False  # then nothing that follows says anything
        self.told: list[str] = []

    def tell(self, line: str) -> None:
        note(line)
        self.told.append(line)

    @contextmanager
    def first_failure_shown(self) -> Iterator[None]:
        """What depends on how fast a machine is does not fail a second time, and Hypothesis would say no more of it."""
        try:
            yield
        except BaseException:
            self.has_failed = True
            if not self.sessions.has_failed:
                self.sessions.has_failed = True
                print("\n".join(self.told), traceback.format_exc(), sep="\n")
            raise

    def post(self, message: Message, fate: str) -> Any:
        """The answer, if it arrives."""
        self.messages.append(message)
        if self.frozen is not None:
            self.frozen.patience -= 1
            if not self.frozen.patience:
                self.thaw("commit")
        if fate == "frozen" and self.frozen is None:
            self.freeze(message)
        elif fate != "delayed":
            answer = self.deliver(message)
            return answer if fate == "answered" else None
        return None

    def deliver(self, message: Message) -> Any:
        """Make the call, and hold the model to the answer. None: it met somebody frozen, and was given up."""
        line = self.sessions.users if message.member is None else self.executors[message.member.executor_id].connection
        answer = ask(lambda: message.send(line))
        self.tell(f"  {message}: {answer}")
        self.look_at_the_frozen()
        if self.met_somebody_frozen(answer):
            return None
        message.judge(answer)()
        return answer

    def freeze(self, message: Message) -> None:
        """The call is made, and its transaction stays open."""
        connection = self.sessions.open()
        connection.autocommit = False
        answer = ask(lambda: message.send(connection))
        self.tell(f"  {message}, which then freezes: {answer}")
        # Closed with the story, even if the model objects.
        self.frozen = Frozen(message, connection)
        self.frozen.change = message.judge(answer)
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            connection.close()
            self.frozen = None

    def met_somebody_frozen(self, answer: Any) -> bool:
        assert answer != BLOCKED or self.frozen is not None, "a lock was waited for that nobody holds"
        return bool(answer == BLOCKED)

    def look_at_the_frozen(self, *, is_told_to_end: bool = False) -> None:
        """Whoever takes a dead owner's fence ends the clients that froze while they wrote for it."""
        frozen = self.frozen
        owner = frozen.message.member if frozen is not None and not frozen.is_lost else None
        if frozen is None or owner is None:
            return
        # The fence it holds, and not its session: that one is seen for a moment longer.
        there = "select 1 from pg_locks where pid = %s and locktype = 'advisory' and granted"
        pid, observer = backend_pid(frozen.connection), self.sessions.observer
        if is_told_to_end:
            wait_until(lambda: not read(observer, there, pid), what="the end of the frozen one", timeout_seconds=60)
        frozen.is_lost = not read(observer, there, pid)
        assert not frozen.is_lost or owner.dead_reason, f"{frozen.message.what}: ended, and its owner lives"

    def arrive_late_or_again(self, place: int) -> None:
        if self.messages:
            self.deliver(pick(self.messages, place))

    def claim_arrives_late_or_again(self, place: int) -> None:
        claims = [message for message in self.messages if message.fence is not None]
        if claims:
            self.deliver(pick(claims, place % 4))

    def thaw(self, ends: str = "commit") -> None:
        if self.frozen is None:
            return
        self.look_at_the_frozen()
        frozen, self.frozen = self.frozen, None
        failure = ask(getattr(frozen.connection, ends))
        frozen.connection.close()
        self.tell(f"  {ends} of {frozen.message}: {failure}")
        if failure is None and ends == "commit":
            assert not frozen.is_lost, f"{frozen.message.what} was committed after its owner was taken over"
            frozen.change()
        elif ends == "commit":
            assert frozen.is_lost, f"{frozen.message.what} could not be committed"

    def forget_the_frozen(self) -> None:
        if self.frozen is not None:
            self.frozen.connection.close()
