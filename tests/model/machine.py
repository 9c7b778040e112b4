"""What executors and users do with workflows, and what must hold after every step of a story, and at its end."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from model.members import TTL, Members
from model.network import Message, Sessions, pick
from model.ownership import (
    CANCELLED,
    DELAYED,
    ENQUEUED,
    EXHAUSTED,
    INTERNAL,
    PENDING,
    SUCCESS,
    Change,
    Flow,
    Member,
)  # fmt: skip
from plugins.executors import Connection, read, value
from plugins.queueing import cancel, claim_rows, doctor, enqueue, resume
from plugins.replies import twin

QUEUES = ("free", "tight", "shared")
FATES = ("answered",) * 5 + ("lost", "delayed", "frozen")
STATE = """
select h.workflow_id, i.status, i.queue, i.deduplication_id, i.executor_id, i.fence,
  o.status as outcome, o.executor_id as last_owner, o.fence as last_fence,
  (select coalesce(jsonb_object_agg(c.step_id, jsonb_build_array(convert_from(c.output, 'UTF8'), c.child_id)), '{}')
   from pyengine.checkpoints as c where c.workflow_id = h.workflow_id) as steps
from pyengine.workflows as h
full join pyengine.in_flight as i on i.workflow_id = h.workflow_id
full join pyengine.outcomes as o on o.workflow_id = h.workflow_id
"""


@dataclass(frozen=True)
class Answered:
    verdict: str
    due: tuple[datetime, datetime] | None


# What happens, and how often.
HAPPENINGS = {
    "start": 4, "start_child": 2, "enqueue": 5, "claim": 6, "checkpoint": 8, "finish": 4, "cancel": 3, "resume": 4,
    "delete": 2, "release": 1, "beat": 4, "let_time_pass": 3, "register": 1, "end": 1, "take_over": 2,
    "the_frozen_one_is_lost": 1, "thaw": 2, "arrive_late_or_again": 8, "claim_arrives_late_or_again": 3,
    "what_was_resumed_meets_its_past": 3, "a_write_freezes_and_its_workflow_is_resumed": 1,
}  # fmt: skip
TROUBLE = {"end", "take_over", "the_frozen_one_is_lost", "arrive_late_or_again", "cancel", "resume"}
# The last ones of a list come first: small places mean what has just happened.
_PLACES = (*range(4), *range(4), *range(30))
CHOICES: dict[str, Sequence[Any]] = {
    "place": _PLACES, "run": _PLACES, "name": range(30), "step": range(3), "fate": FATES, "key": (None, "a", "b"),
    "is_delayed": (True, False, False), "most": (None, None, 0, 1), "queue": (*QUEUES, INTERNAL), "limit": (1, 2, 100),
    "reason": ("retired", "process_gone", "process_gone"), "seconds": (0.6, 1, 2, 2, 2.5, 6), "is_user": (True, False),
    "is_watched": (True, False), "ends": ("commit", "commit", "rollback"), "is_elsewhere": (True, False, False),
}  # fmt: skip


class Fleet(Members):
    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions)
        self.numbers = itertools.count(1)

    def one_of(self, place: int, *statuses: str) -> str:
        """A workflow in one of these places; sometimes any, and sometimes one that nobody knows."""
        known = sorted(self.model.flows)
        fitting = [each for each in known if self.model.flows[each].status in statuses]
        return str(pick((fitting if place % 5 and fitting else known) or ["nobody"], place))

    def name(self, place: int) -> str:
        """Mostly a new one, among few in all: names meet."""
        return f"w{len(self.model.flows) if place % 3 and len(self.model.flows) < 12 else place % 12}"

    def run_of(self, place: int) -> tuple[Member, str, int] | None:
        """A claim that some process has known, mostly one that it still believes in."""
        ever = self.runs()
        believed = [each for each in ever if each[1:] in each[0].runs]
        chosen = believed if place % 3 and believed else ever
        return pick(chosen, place) if chosen else None

    def _fence(self) -> int:
        return 1000 + next(self.numbers)

    def start(self, place: int, name: int, fate: str) -> None:
        self._start(self.member(place), self.name(name), fate, None)

    def start_child(self, run: int, name: int, step: int, fate: str) -> None:
        known = self.run_of(run)
        if known is None:
            return
        self._start(known[0], self.name(name), fate, (*known[1:], step))

    def _start(self, member: Member, workflow_id: str, fate: str, parent: tuple[str, int, int] | None) -> None:
        fence, token = self._fence(), next(self.numbers)
        executor = self.executors[member.executor_id]
        given: dict[str, Any] = {"fence": fence, "start_token": token}
        if parent is not None:
            given |= dict(zip(("parent_id", "parent_fence", "parent_step_id"), parent, strict=True))

        def send(line: Connection) -> str:
            verdict: str = twin(executor, line).start(workflow_id, **given)["verdict"]
            return verdict

        def judge(answer: str) -> Change:
            return self.model.start(answer, member, workflow_id, fence, token, parent, self.sessions.clock.now())

        if self.post(Message(f"start of {workflow_id}", member, send, judge), fate) == "yours":
            member.learn((workflow_id, fence))

    def enqueue(
        self, place: int, is_user: bool, name: int, queue: str, key: str | None, is_delayed: bool, most: int | None,
        fate: str,
    ) -> None:  # fmt: skip
        member = None if is_user else self.member(place)
        workflow_id, token = self.name(name), next(self.numbers)
        given = {} if member is None else self.executors[member.executor_id].me
        delay = timedelta(seconds=3) if is_delayed else None
        clock = self.sessions.clock

        def send(line: Connection) -> Any:
            before = clock.now() if delay else None
            found = enqueue(
                line, workflow_id, start_token=token, queue=queue, deduplication_id=key, delay=delay,
                max_recovery_attempts=most, **given,
            )["verdict"]  # fmt: skip
            due = (before + delay, clock.now() + delay) if delay and before else None
            return Answered(found, due)

        def judge(answer: Any) -> Change:
            verdict, due = (answer.verdict, answer.due) if isinstance(answer, Answered) else (answer, None)
            made = Flow(token, DELAYED if delay else ENQUEUED, queue, key, max_crashes=most, due=due)
            return self.model.enqueue(verdict, member, workflow_id, made)

        self.post(Message(f"enqueue of {workflow_id}", member, send, judge), fate)

    def claim(self, place: int, queue: str, limit: int, fate: str) -> None:
        """Mostly where something waits."""
        waiting = [flow.queue for flow in self.model.flows.values() if flow.status == ENQUEUED and flow.queue]
        self._claim(self.member(place), pick(waiting, place) if place % 4 and waiting else queue, limit, fate)

    def _claim(self, member: Member, queue: str, limit: int, fate: str) -> None:
        fence = self._fence()
        executor = self.executors[member.executor_id]

        def send(line: Connection) -> Any:
            found = claim_rows(twin(executor, line), queue, limit, fence)
            return "busy" if found and found[0]["verdict"] == "busy" else [each["workflow_id"] for each in found]

        def judge(answer: Any) -> Change:
            # Suspects are claimed alone: then fewer than there is room for.
            suspects = read(self.sessions.observer, "select 1 from pyengine.in_flight where crashes >= 3")
            is_sure = self.frozen is None and not suspects
            return self.model.claim(answer, member, queue, limit, fence, self.sessions.clock.now(), is_sure=is_sure)

        answer = self.post(Message(f"claim of {queue}", member, send, judge, fence), fate)
        for workflow_id in answer if isinstance(answer, list) else ():
            member.learn((workflow_id, fence))

    def checkpoint(self, run: int, step: int, fate: str) -> None:
        known = self.run_of(run)
        if known is None:
            return
        self._checkpoint(*known, step, fate)

    def _checkpoint(self, member: Member, workflow_id: str, fence: int, step: int, fate: str) -> None:
        executor, output = self.executors[member.executor_id], f"{next(self.numbers)}".encode()

        def send(line: Connection) -> tuple[str, bytes | None]:
            found = twin(executor, line).checkpoint(workflow_id, fence, step, output=output, name="flow")
            return found["verdict"], found["output"]

        def judge(answer: Any) -> Change:
            return self.model.checkpoint(answer, member, workflow_id, fence, step, output)

        self.post(Message(f"checkpoint {step} of {workflow_id}", member, send, judge), fate)

    def finish(self, run: int, fate: str) -> None:
        known = self.run_of(run)
        if known is None:
            return
        self._finish(*known, fate)

    def _finish(self, member: Member, workflow_id: str, fence: int, fate: str) -> None:
        executor = self.executors[member.executor_id]

        def send(line: Connection) -> str:
            return twin(executor, line).finish(workflow_id, fence)

        def judge(answer: str) -> Change:
            return self.model.finish(answer, member, workflow_id, fence)

        if self.post(Message(f"finish of {workflow_id}", member, send, judge), fate) is not None:
            member.runs.discard((workflow_id, fence))

    def cancel(self, place: int, fate: str) -> None:
        self._cancel(self.one_of(place, PENDING, ENQUEUED, DELAYED), fate)

    def _cancel(self, workflow_id: str, fate: str) -> None:
        def send(line: Connection) -> str:
            return cancel(line, workflow_id)

        def judge(answer: str) -> Change:
            return self.model.cancel(answer, workflow_id)

        self.post(Message(f"cancel of {workflow_id}", None, send, judge), fate)

    def resume(self, place: int, is_elsewhere: bool, queue: str, fate: str) -> None:
        workflow_id = self.one_of(place, CANCELLED, EXHAUSTED, DELAYED)
        flow = self.model.flows.get(workflow_id)
        self._resume(workflow_id, queue if is_elsewhere or flow is None else flow.queue or INTERNAL, fate)

    def _resume(self, workflow_id: str, queue: str, fate: str) -> None:

        def send(line: Connection) -> str:
            return resume(line, workflow_id, queue)

        def judge(answer: str) -> Change:
            self.nobody_writes_for(workflow_id, answer)
            return self.model.resume(answer, workflow_id, queue)

        self.post(Message(f"resume of {workflow_id}", None, send, judge), fate)

    def delete(self, place: int, fate: str) -> None:
        workflow_id = self.one_of(place, SUCCESS, CANCELLED, PENDING)

        def send(line: Connection) -> str:
            return str(value(line, "delete_workflow", workflow_id=workflow_id))

        def judge(answer: str) -> Change:
            self.nobody_writes_for(workflow_id, answer)
            return self.model.delete(answer, workflow_id)

        self.post(Message(f"delete of {workflow_id}", None, send, judge), fate)

    def nobody_writes_for(self, workflow_id: str, answer: str) -> None:
        """What makes a workflow runnable again, or removes it, has waited for the last writes of its last owner."""
        flow, frozen = self.model.flows.get(workflow_id), self.frozen
        if (
            frozen is None
            or frozen.is_lost
            or flow is None
            or flow.owner is None
            or answer not in ("resumed", "deleted")
        ):
            return
        member = frozen.message.member
        assert member is None or member.executor_id != flow.owner, f"{answer} while {frozen.message} was under way"

    def what_was_resumed_meets_its_past(self, place: int, step: int) -> None:
        """Chance alone tells this too seldom: cancelled, resumed where it was, then the old run writes, and its claim
        arrives once more."""
        known = {run[2]: run[:2] for run in self.runs() if self.is_held(*run[1:])}
        claims = [message for message in self.messages if message.fence in known]
        if not claims:
            return
        claim = pick(claims, place)
        member, workflow_id = known[claim.fence]
        self._cancel(workflow_id, "answered")
        flow = self.model.flows[workflow_id]
        if flow.status == CANCELLED and flow.queue:
            self._resume(workflow_id, flow.queue, "answered")
            self._checkpoint(member, workflow_id, claim.fence, step, "lost")
            self.deliver(claim)

    def runs(self) -> list[tuple[Member, str, int]]:
        return [(member, *claim) for member in self.model.members for claim in member.ever]

    def is_held(self, workflow_id: str, fence: int) -> bool:
        return workflow_id in self.model.flows and self.model.flows[workflow_id].is_held(fence)

    def a_write_freezes_and_its_workflow_is_resumed(self, run: int, step: int, is_watched: bool) -> None:
        known = self.run_of(run)
        if known is None or self.frozen is not None:
            return
        self._checkpoint(*known, step, "frozen")
        self._cancel(known[1], "answered")
        if is_watched:
            self._end(known[0], "process_gone")
        self._resume(known[1], INTERNAL, "answered")

    def release(self) -> None:
        if self.frozen is not None:
            return
        before = self.sessions.clock.now()
        value(self.sessions.users, "release_delayed", limit=100)
        found = read(self.sessions.observer, "select workflow_id from pyengine.in_flight where status = 'ENQUEUED'")
        self.model.released({each["workflow_id"] for each in found}, before, self.sessions.clock.now())

    @rule(seed=st.integers(0, 2**32), length=st.sampled_from([1, 4, 12, 12, 12, 12]), trouble=st.sampled_from([1, 3]))
    def go_on(self, seed: int, length: int, trouble: int) -> None:
        """A stretch of the story. Hypothesis tells it, cuts it short and leaves stretches out; what is in it is chance:
        told one by one, most calls would find nothing to be about."""
        chance = random.Random(seed)
        happenings = {name: weight * (trouble if name in TROUBLE else 1) for name, weight in HAPPENINGS.items()}
        with self.first_failure_shown():
            for name in chance.choices(list(happenings), list(happenings.values()), k=length):
                method = getattr(self, name)
                wanted = inspect.signature(method).parameters
                given = {each: chance.choice(CHOICES[each]) for each in wanted}
                self.tell(f"{name}({', '.join(f'{each}={value}' for each, value in given.items())})")
                method(**given)
                self.every_row_is_where_the_model_has_it()

    # What must hold after every step, and at the end.

    @invariant()
    def every_row_is_where_the_model_has_it(self) -> None:
        found = {each["workflow_id"]: each for each in read(self.sessions.observer, STATE)}
        assert found.keys() == self.model.flows.keys()
        for workflow_id, flow in self.model.flows.items():
            row = found[workflow_id]
            assert (row["status"] is None) != (row["outcome"] is None), f"{workflow_id} is not in exactly one place"
            assert (row["status"] or row["outcome"]) == flow.status, workflow_id
            if flow.is_in_flight:
                expected = (flow.queue, flow.key, flow.owner, flow.fence)
                assert (row["queue"], row["deduplication_id"], row["executor_id"], row["fence"]) == expected, (
                    workflow_id
                )
            else:
                assert (row["last_owner"], row["last_fence"]) == (flow.owner, flow.fence), workflow_id
            steps = {str(step): [output and output.decode(), child] for step, (output, child) in flow.steps.items()}
            assert row["steps"] == steps, f"checkpoints of {workflow_id}"

    @invariant()
    def doctor_finds_what_the_model_knows_and_nothing_else(self) -> None:
        for number, subject in self.findings():
            assert number in (2, 5), (number, subject)
            # What waits for somebody to look: the dead and the silent, delays that are over, nobody alive.
            if subject.startswith("executor "):
                assert not self.model.by_id(int(subject.split()[1])).is_handed_over, subject
            elif subject.startswith("workflow "):
                assert self.model.flows[subject.split()[1]].status == DELAYED, subject
            else:
                assert all(member.dead_reason for member in self.model.members) or "version" in subject, subject

    def teardown(self) -> None:
        """Whatever has happened: somebody who comes now and stays brings everything to its end, and nobody helps."""
        if self.has_failed or not self.model.members:
            self.forget_the_frozen()
            return
        with self.first_failure_shown():
            self.rescue()

    def rescue(self) -> None:
        self.thaw()
        self.sessions.clock.advance(TTL / 2)
        for member in self.alive:
            # Everybody is told of the claims whose answers were lost.
            self._beat(member)
        rescuer = self.enrol()
        executor = self.executors[rescuer.executor_id]
        for _ in range(6 * TTL):
            self.sessions.clock.advance(1)
            self._beat(rescuer)
            for duty, subject in self._housekeep(rescuer):
                if duty == "take_over":
                    self._take_over(self.model.by_id(subject or 0), 100)
            self.release()
            for queue in (*QUEUES, INTERNAL):
                self._claim(rescuer, queue, 100, "answered")
            for claimed in sorted(rescuer.runs):
                self._finish(rescuer, *claimed, "answered")
            self.every_row_is_where_the_model_has_it()
            if not any(flow.is_in_flight for flow in self.model.flows.values()):
                break
        unfinished = {each: flow for each, flow in self.model.flows.items() if flow.is_in_flight}
        assert not unfinished, f"never ended: {unfinished}"
        assert executor.dead_reason is None
        assert self.findings() == []

    def findings(self) -> list[tuple[int, str]]:
        """Less what doctor says of transactions that stand open: that is somebody frozen, or has just been."""
        return [found for found in doctor(self.sessions.observer) if not found[1].startswith("backend ")]
