"""The model: who owns which workflow, and what each call must therefore answer. No database, no clock of its own.

Each method is told the answer that the database gave. It says what is wrong with it, or returns what the call changes.
That is done at once when the call has committed, or later, when it was made in a transaction that is still open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

ENQUEUED, DELAYED, PENDING = "ENQUEUED", "DELAYED", "PENDING"
CANCELLED, EXHAUSTED, SUCCESS = "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "SUCCESS"
INTERNAL = "_dbos_internal_queue"
FENCED = "WF001"
# Of queue 'tight', in all; of queue 'shared', for each executor.
CONCURRENCY, WORKER_CONCURRENCY = 2, 1

Change = Callable[[], object]
Claim = tuple[str, int]


@dataclass
class Member:
    """One executor incarnation. What its process believes to run may be long out of date."""

    executor_id: int
    last_beat: datetime
    dead_reason: str | None = None
    is_handed_over: bool = False
    runs: set[Claim] = field(default_factory=set)
    ever: list[Claim] = field(default_factory=list)
    used_fences: set[int] = field(default_factory=set)

    def learn(self, claim: Claim) -> None:
        self.runs.add(claim)
        if claim not in self.ever:
            self.ever.append(claim)


@dataclass
class Flow:
    """A workflow: `status` is where it is; owner and fence are its claim's, or the last one's once it has ended."""

    token: int
    status: str
    queue: str | None = None
    key: str | None = None
    owner: int | None = None
    fence: int | None = None
    claimed_at: datetime | None = None
    is_reborn: bool = False
    max_crashes: int | None = None
    due: tuple[datetime, datetime] | None = None
    steps: dict[int, tuple[bytes | None, str | None]] = field(default_factory=dict)

    @property
    def is_in_flight(self) -> bool:
        return self.status in (ENQUEUED, DELAYED, PENDING)

    def is_held(self, fence: int) -> bool:
        return self.status == PENDING and self.fence == fence


def nothing() -> None:
    """What a call changes that changes nothing."""


def expect(answer: object, expected: object, change: Change = nothing) -> Change:
    assert answer == expected, f"answered {answer!r}, and the model says {expected!r}"
    return change


class Ownership:
    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.members: list[Member] = []

    def by_id(self, executor_id: int) -> Member:
        return next(member for member in self.members if member.executor_id == executor_id)

    # What becomes of a workflow, from start to outcome.

    def start(
        self,
        answer: str,
        member: Member,
        workflow_id: str,
        fence: int,
        token: int,
        parent: tuple[str, int, int] | None,
        now: datetime,
    ) -> Change:
        if member.dead_reason:
            return expect(answer, FENCED)
        known = self.flows.get(workflow_id)
        is_own = known is not None and known.token == token and known.is_held(fence)
        made = Flow(token, PENDING, owner=member.executor_id, fence=fence, claimed_at=now)
        # A deletion takes the token along: a start that arrives after it begins anew, under its old fence.
        made.is_reborn = fence in member.used_fences
        member.used_fences.add(fence)
        return self._begin(answer, workflow_id, made, "yours" if known is None or is_own else "exists", parent)

    def enqueue(
        self,
        answer: str,
        member: Member | None,
        workflow_id: str,
        made: Flow,
        parent: tuple[str, int, int] | None = None,
    ) -> Change:
        if member is not None and member.dead_reason:
            return expect(answer, FENCED)
        known = self.flows.get(workflow_id)
        if known is None and made.key is not None and self.holder(made.queue, made.key):
            return expect(answer, "deduplicated")
        return self._begin(
            answer, workflow_id, made, "yours" if known is None or known.token == made.token else "exists", parent
        )

    def holder(self, queue: str | None, key: str) -> str | None:
        for workflow_id, flow in self.flows.items():
            if flow.is_in_flight and (flow.queue, flow.key) == (queue, key):
                return workflow_id
        return None

    def _begin(
        self, answer: str, workflow_id: str, made: Flow, verdict: str, parent: tuple[str, int, int] | None
    ) -> Change:
        is_new = workflow_id not in self.flows

        def change() -> None:
            if is_new:
                self.flows[workflow_id] = made
            if parent is not None:
                self.flows[parent[0]].steps.setdefault(parent[2], (None, workflow_id))

        if parent is not None:
            parent_id, parent_fence, step = parent
            refusal = self._refusal(parent_id, parent_fence)
            if refusal is None and self.flows[parent_id].steps.get(step, (None, workflow_id)) != (None, workflow_id):
                refusal = "unexpected_step"
            if refusal is not None:
                return expect(answer, refusal)
        return expect(answer, verdict, change)

    def _refusal(self, workflow_id: str, fence: int) -> str | None:
        """Why a write under this claim is refused, if it is."""
        flow = self.flows.get(workflow_id)
        if flow is not None and flow.is_held(fence):
            return None
        return "cancelled" if flow is not None and flow.status == CANCELLED else "fenced"

    def checkpoint(
        self, answer: object, member: Member, workflow_id: str, fence: int, step: int, output: bytes
    ) -> Change:
        if member.dead_reason:
            return expect(answer, FENCED)
        refusal = self._refusal(workflow_id, fence)
        if refusal:
            return expect(answer, (refusal, None))
        steps = self.flows[workflow_id].steps
        if step in steps:
            return expect(answer, ("existing", steps[step][0]))

        def change() -> None:
            assert step not in steps, "a checkpoint was stored twice"
            steps[step] = (output, None)

        return expect(answer, ("stored", None), change)

    def finish(self, answer: str, member: Member, workflow_id: str, fence: int) -> Change:
        if member.dead_reason:
            return expect(answer, FENCED)
        flow = self.flows.get(workflow_id)
        if flow is not None and (flow.status, flow.fence) == (SUCCESS, fence):
            return expect(answer, "ok")
        refusal = self._refusal(workflow_id, fence)
        return expect(answer, refusal or "ok", nothing if refusal else lambda: self._end(workflow_id, SUCCESS))

    def cancel(self, answer: str, workflow_id: str) -> Change:
        flow = self.flows.get(workflow_id)
        if flow is None:
            return expect(answer, "unknown")
        if not flow.is_in_flight:
            return expect(answer, "finished")
        return expect(answer, "cancelled", lambda: self._end(workflow_id, CANCELLED))

    def _end(self, workflow_id: str, status: str) -> None:
        flow = self.flows[workflow_id]
        assert flow.is_in_flight, f"{workflow_id} has a second outcome: {status} after {flow.status}"
        flow.status = status

    def resume(self, answer: str, workflow_id: str, queue: str) -> Change:
        flow = self.flows.get(workflow_id)
        if flow is None:
            return expect(answer, "unknown")
        if flow.status in (PENDING, SUCCESS):
            return expect(answer, "running" if flow.status == PENDING else "finished")
        if (flow.status, flow.queue) == (ENQUEUED, queue):
            return expect(answer, "resumed")

        def change() -> None:
            # An enqueued one keeps its key where it stays; who comes back has lost it.
            flow.key = flow.key if flow.is_in_flight and flow.queue == queue else None
            flow.status, flow.queue, flow.owner, flow.fence, flow.due = ENQUEUED, queue, None, None, None

        return expect(answer, "resumed", change)

    def delete(self, answer: str, workflow_id: str) -> Change:
        if workflow_id not in self.flows:
            return expect(answer, "unknown")
        return expect(answer, "deleted", lambda: self.flows.pop(workflow_id))

    # Claims and what becomes of them.

    def claim(
        self, answer: object, member: Member, queue: str, limit: int, fence: int, now: datetime, *, is_sure: bool
    ) -> Change:
        """`is_sure`: nobody holds locks that a claim passes over, so it must take all that it may."""
        if member.dead_reason:
            return expect(answer, FENCED)
        if answer == "busy":
            assert not is_sure, "a claim was told 'busy', and nobody else is there"
            return nothing
        assert isinstance(answer, list)
        held = [each for each, flow in self.flows.items() if flow.is_held(fence) and flow.owner == member.executor_id]
        if held:
            assert sorted(answer) == sorted(held), "the repeat of a claim got other rows"
            return nothing
        is_first = fence not in member.used_fences
        member.used_fences.add(fence)
        waiting = [each for each, flow in self.flows.items() if (flow.status, flow.queue) == (ENQUEUED, queue)]
        room = min(limit, self.room(member, queue))
        assert set(answer) <= set(waiting), f"{answer} was claimed, and only {waiting} waits on {queue}"
        assert len(answer) <= room, f"{len(answer)} were claimed, and there was room for {room}"
        for workflow_id in answer:
            assert (workflow_id, fence) not in member.runs, "a run that was cancelled got its claim back"
        if is_sure and is_first:
            assert len(answer) == min(room, len(waiting)), f"{answer} of {waiting} were claimed, with room for {room}"

        def change() -> None:
            for workflow_id in answer:
                flow = self.flows[workflow_id]
                flow.status, flow.owner, flow.fence, flow.claimed_at = PENDING, member.executor_id, fence, now

        return change

    def room(self, member: Member, queue: str) -> int:
        running = [flow.owner for flow in self.flows.values() if (flow.status, flow.queue) == (PENDING, queue)]
        if queue == "tight":
            return max(0, CONCURRENCY - len(running))
        return max(0, WORKER_CONCURRENCY - running.count(member.executor_id)) if queue == "shared" else 1000

    def owned(self, member: Member) -> list[str]:
        return [each for each, flow in self.flows.items() if (flow.status, flow.owner) == (PENDING, member.executor_id)]

    def forgotten(self, member: Member, known: set[int], before: datetime) -> set[int]:
        """Fences of claims from before that instant that the process did not name."""
        claims = [self.flows[workflow_id] for workflow_id in self.owned(member)]
        old = {flow.fence for flow in claims if flow.fence and flow.claimed_at and flow.claimed_at < before}
        return old - known

    def moved(self, member: Member, now: dict[str, str]) -> None:
        """What a takeover did with the rows of somebody dead, as it is found afterwards."""
        assert member.dead_reason, "somebody alive was taken over"
        for workflow_id in self.owned(member):
            flow = self.flows[workflow_id]
            if now[workflow_id] == ENQUEUED:
                flow.status, flow.queue, flow.owner, flow.fence = ENQUEUED, flow.queue or INTERNAL, None, None
            elif now[workflow_id] == EXHAUSTED:
                assert flow.max_crashes is not None
                assert member.dead_reason not in ("retired", "handed_over"), "a hand-over was counted as a crash"
                self._end(workflow_id, EXHAUSTED)
            else:
                assert now[workflow_id] == PENDING

    def released(self, workflow_ids: set[str], before: datetime, after: datetime) -> None:
        """What a release of delayed ones made runnable, between these two instants."""
        for workflow_id, flow in self.flows.items():
            if flow.status != DELAYED or flow.due is None:
                continue
            earliest, latest = flow.due
            if workflow_id in workflow_ids:
                assert earliest <= after, "released too early"
                flow.status = ENQUEUED
            else:
                assert latest > before, "not released though it was due"
