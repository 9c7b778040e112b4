"""Who waits for the answer awake: who commits alone, and nobody else."""

from __future__ import annotations

import asyncio
import threading

from plugins.committing import FakeDatabase, Users, finish
from pyengine.db.batches import FINISHES
from pyengine.runtime.committer import Committer


def test_a_lone_caller_waits_awake(users: Users, database: FakeDatabase) -> None:
    database.open()

    for workflow_id in "abc":
        users.enter(workflow_id).result(10)
    users.committer.commit(FINISHES, finish("main"))

    assert database.eager == ["a", "b", "c", "main"]


def test_among_others_nobody_waits_awake(users: Users, database: FakeDatabase) -> None:
    first = users.enter("a")
    followers = [users.enter(each) for each in "bc"]
    database.let(2)
    for each in (first, *followers):
        each.result(10)
    database.open()
    users.enter("d").result(10)  # nobody came meanwhile: the next one may
    users.enter("e").result(10)

    assert database.eager == ["a", "e"]


def test_the_main_thread_does_not_wait_awake_beside_others(users: Users, database: FakeDatabase) -> None:
    leading = users.enter("a")
    main = threading.Timer(0.05, database.open)
    main.start()
    users.committer.commit(FINISHES, finish("main"))
    leading.result(10)

    assert database.eager == ["a"]


def test_who_commits_for_coroutines_does_not_wait_awake(committer: Committer, database: FakeDatabase) -> None:
    """The loop needs the interpreter."""
    database.open()

    assert asyncio.run(committer.commit_async(FINISHES, finish("a"))) == "alone a"
    assert database.eager == []
