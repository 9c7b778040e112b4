"""Executors of a story: they register, beat, fall silent, end, are taken for dead, and are taken over."""

from __future__ import annotations

from datetime import timedelta

from hypothesis.stateful import initialize

from model.network import BLOCKED, FENCED, Network, ask, pick
from model.ownership import CONCURRENCY, WORKER_CONCURRENCY, Member
from plugins.executors import Executor, read, rows
from plugins.queueing import put_queue
from plugins.replies import clear

TTL = 5
PLACE_OF = """
select coalesce(i.workflow_id, o.workflow_id) as workflow_id, coalesce(i.status, o.status) as status
from pyengine.in_flight as i full join pyengine.outcomes as o on o.workflow_id = i.workflow_id
"""


class Members(Network):
    def enrol(self) -> Member:
        line = self.sessions.of_member(len(self.model.members))
        executor = Executor(line, lease_ttl=timedelta(seconds=TTL))
        member = Member(executor.id, executor.registered["server_time"])
        self.executors[executor.id] = executor
        self.model.members.append(member)
        return member

    @initialize()
    def begin(self) -> None:
        clear(self.sessions.observer)
        put_queue(self.sessions.observer, "tight", concurrency=CONCURRENCY)
        put_queue(self.sessions.observer, "shared", worker_concurrency=WORKER_CONCURRENCY)
        for _ in range(3):
            self.enrol()

    def register(self) -> None:
        if len(self.alive) < 4:
            self.enrol()

    @property
    def alive(self) -> list[Member]:
        return [member for member in self.model.members if not member.dead_reason]

    def member(self, place: int) -> Member:
        """Mostly one that lives: what the dead still send arrives late anyhow."""
        return pick(self.alive if place % 4 and self.alive else self.model.members, place)  # type: ignore[no-any-return]

    def beat(self, place: int) -> None:
        """Its lease is renewed, it lets go of what it lost, and it takes up what it does not know that it holds."""
        self._beat(self.member(place))

    def _beat(self, member: Member) -> None:
        executor = self.executors[member.executor_id]
        fences = {fence for _, fence in member.runs}
        told = ask(lambda: executor.beat(*fences))
        if told == FENCED:
            assert member.dead_reason
            member.runs.clear()
            return
        if self.met_somebody_frozen(told):
            return
        assert not member.dead_reason, "somebody dead was given a lease"
        member.last_beat = told["server_time"]
        for lost in zip(told["interrupted_ids"], told["interrupted_fences"], strict=True):
            flow = self.model.flows.get(lost[0])
            is_wrong = flow is not None and flow.is_held(lost[1]) and not flow.is_reborn
            assert not is_wrong, f"a run that holds its claim was interrupted: {lost}"
            member.runs.discard(lost)
        unheld = set(told["unheld_fences"])
        held = {(each, self.model.flows[each].fence) for each in self.model.owned(member)}
        assert unheld <= {fence for _, fence in held}, "a claim was told that is not there"
        assert self.model.forgotten(member, fences, told["server_time"] - timedelta(seconds=TTL / 3)) <= unheld
        loaded = ask(lambda: rows(executor.connection, "load_claims", **executor.me, fences=list(unheld)))
        if self.met_somebody_frozen(loaded):
            return
        assert {found["fence"] for found in loaded} == unheld
        for found in loaded:
            assert (found["workflow_id"], found["fence"]) in held
            member.learn((found["workflow_id"], found["fence"]))

    def end(self, place: int, reason: str) -> None:
        if self.alive:
            self._end(pick(self.alive, place), reason)

    def _end(self, member: Member, reason: str) -> None:
        executor = self.executors[member.executor_id]
        answer = ask(executor.retire if reason == "retired" else lambda: executor.mark_dead(executor, reason))
        if not self.met_somebody_frozen(answer):
            member.dead_reason = member.dead_reason or reason

    def the_frozen_one_is_lost(self) -> None:
        member = self.frozen.message.member if self.frozen else None
        if member is not None:
            self._end(member, "process_gone")
            self._take_over(member, 100)

    def take_over(self, place: int, limit: int) -> None:
        left = [member for member in self.model.members if member.dead_reason and not member.is_handed_over]
        self._take_over(pick(left or self.model.members, place), limit)

    def _take_over(self, member: Member, limit: int) -> None:
        executor, owned = self.executors[member.executor_id], self.model.owned(member)
        taken = ask(lambda: executor.take_over(executor, limit))
        if taken in ("WF101", BLOCKED):
            assert not member.dead_reason if taken == "WF101" else self.met_somebody_frozen(taken)
            return
        moved, quarantined, remaining = taken
        assert member.dead_reason, "somebody alive was taken over"
        if self.frozen is not None and self.frozen.message.member is member and remaining and not moved + quarantined:
            self.look_at_the_frozen(is_told_to_end=True)
            return
        self.look_at_the_frozen()
        now = {found["workflow_id"]: found["status"] for found in read(self.sessions.observer, PLACE_OF)}
        self.model.moved(member, now)
        left = len(self.model.owned(member))
        assert moved + quarantined == len(owned) - left
        # What somebody frozen has locked comes with the next round: a row, or the fence for a resume.
        assert self.frozen is not None or left == max(0, len(owned) - limit)
        assert remaining == (left > 0) or (remaining and self.frozen is not None)
        member.is_handed_over = member.is_handed_over or not remaining

    def let_time_pass(self, place: int, seconds: float, is_watched: bool) -> None:
        self.sessions.clock.advance(seconds)
        if is_watched:
            self._housekeep(self.member(place))

    def _housekeep(self, member: Member) -> list[tuple[str, int | None]]:
        duties = ask(self.executors[member.executor_id].housekeep)
        if isinstance(duties, str):
            assert member.dead_reason if duties == FENCED else self.met_somebody_frozen(duties), duties
            return []
        now = self.sessions.clock.now()
        dead = "select executor_id, dead_reason from pyengine.executors where dead_at is not null"
        for found in read(self.sessions.observer, dead):
            other = self.model.by_id(found["executor_id"])
            if other.dead_reason is None:
                assert other is not member, "a housekeeper marked itself"
                assert found["dead_reason"] == "lease_expired"
                assert now - other.last_beat >= timedelta(seconds=TTL), "marked dead though its lease was not over"
                other.dead_reason = "lease_expired"
        return duties
