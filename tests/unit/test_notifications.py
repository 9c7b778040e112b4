"""What is told to other processes, how often, and what is made of what they tell."""

from __future__ import annotations

import threading
from typing import Any

from pyengine.runtime import waits
from pyengine.runtime.notifications import Voice
from pyengine.runtime.waits import Waits


class Post:
    """A database that notes what it is told, and holds each call until it is let go."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.arrived = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)

    def one(self, function: Any, **arguments: Any) -> None:
        named = {name: value for name, value in arguments.items() if name != "application"}
        self.told.append((function.name, named))
        self.arrived.release()
        assert self.may_go.acquire(timeout=30)

    def next(self) -> tuple[str, Any]:
        assert self.arrived.acquire(timeout=30)
        return self.told[-1]


def voice_to(post: Post) -> Voice:
    return Voice(post, "app", "me")  # type: ignore[arg-type]


def test_the_first_news_goes_out_at_once_and_the_rest_together() -> None:
    post = Post()
    voice = voice_to(post)
    voice.tell("a")
    assert post.next() == ("notify_queues", {"queues": ["a"]})
    for queue in ("b", "a", "b", "c", "a"):
        voice.tell(queue)
    # All due when the call under way has ended: `a`, which was just told, waits for its turn.
    post.may_go.release()
    assert post.next() == ("notify_queues", {"queues": ["b", "c"]})
    post.may_go.release()
    assert post.next() == ("notify_queues", {"queues": ["a"]})
    post.may_go.release()
    voice.stop()


def test_questions_and_answers_are_told_in_order_and_once() -> None:
    post = Post()
    voice = voice_to(post)
    voice.tell("a")
    post.next()
    for workflow_id in ("w2", "w1", "w2"):
        voice.ask(workflow_id)
        voice.answer("you", workflow_id)
    voice.answer("her", "w1")
    post.may_go.release()
    assert post.next() == (
        "notify_ends",
        {"listeners": ["you", "you", "her"], "workflow_ids": ["w2", "w1", "w1"]},
    )
    post.may_go.release()
    assert post.next() == ("notify_waits", {"listener": "me", "workflow_ids": ["w2", "w1"]})
    post.may_go.release()
    voice.stop()


class Answers:
    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []

    def answer(self, listener: str, workflow_id: str) -> None:
        self.given.append((listener, workflow_id))


def test_everybody_who_asked_is_told_once() -> None:
    answers = Answers()
    asked = Waits(answers)  # type: ignore[arg-type]
    for question in ("one w", "two w", "one w", "one id with spaces"):
        asked.hear(question)
    asked.ended("another")
    assert answers.given == []
    asked.ended("w")
    asked.ended("w")
    assert sorted(answers.given) == [("one", "w"), ("two", "w")]
    asked.ended("id with spaces")
    assert answers.given[2:] == [("one", "id with spaces")]


def test_old_questions_are_forgotten_and_there_are_never_too_many(monkeypatch: Any) -> None:
    answers = Answers()
    asked = Waits(answers)  # type: ignore[arg-type]
    now = [0.0]
    monkeypatch.setattr(waits.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waits, "_MOST", 3)
    for number in range(5):
        asked.hear(f"one w{number}")
    for number in range(5):
        asked.ended(f"w{number}")
    assert [workflow_id for _, workflow_id in answers.given] == ["w2", "w3", "w4"]

    asked.hear("one old")
    asked.hear("one renewed")
    now[0] += 50
    asked.hear("one renewed")
    now[0] += 50
    asked.hear("one new")
    for name in ("old", "renewed", "new"):
        asked.ended(name)
    assert [workflow_id for _, workflow_id in answers.given[3:]] == ["renewed", "new"]
