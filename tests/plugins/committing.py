"""A database that is no more than a gate, for tests of group commit, and threads that come to it one by one."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from plugins.sessions import wait_until
from pyengine.db.batches import FINISHES, Batch
from pyengine.db.database import Contended
from pyengine.runtime.committer import Committer

Call = tuple[str, list[str]]


class FakeDatabase:
    """Commits nothing, and waits at its gate before each call. `blocked` rows wait for somebody, `bad` ones cannot be
    stored, `left_over` ones are not done together.
    """

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.is_open = False
        self.calls: list[Call] = []
        self.done: list[Call] = []
        self.blocked: set[str] = set()
        self.bad: set[str] = set()
        self.left_over: set[str] = set()
        self.fails: BaseException | None = None
        self.eager: list[str] = []  # who waited for the answer awake

    def check_process(self) -> None:
        return None

    def attempt(self, function: Any, arguments: dict[str, Any], *, eagerly: bool = False) -> Any:
        is_batch = "workflow_ids" in arguments
        ids = arguments["workflow_ids"] if is_batch else [arguments["workflow_id"]]
        self.calls.append((function.name, ids))
        self.eager += ids if eagerly else []
        self._pass_gate()
        if self.fails is not None:
            raise self.fails
        if self.blocked.intersection(ids):
            raise Contended("blocked")
        if self.bad.intersection(ids):
            raise ValueError(f"bad: {ids}")
        self.done.append((function.name, ids))
        if is_batch:
            return [place for place, each in enumerate(ids, 1) if each in self.left_over]
        return f"alone {ids[0]}"

    def alone(self, function: Any, arguments: dict[str, Any], *, eagerly: bool) -> Any:
        self.calls.append(("main " + function.name, [arguments["workflow_id"]]))
        self.eager += ["main"] if eagerly else []
        self._pass_gate()
        return "main"

    def _pass_gate(self) -> None:
        while not self.gate.acquire(timeout=0.01):
            if self.is_open:
                return

    def let(self, count: int = 1) -> None:
        self.gate.release(count)

    def open(self) -> None:
        self.is_open = True


def finish(workflow_id: str, size: int = 1, nonce: int = 2) -> dict[str, Any]:
    return {"executor_id": 1, "nonce": nonce, "workflow_id": workflow_id, "output": b"x" * size, "error": None}


class Users:
    """Threads that commit, entered one after the other."""

    def __init__(self, committer: Committer, database: FakeDatabase, threads: ThreadPoolExecutor) -> None:
        self.committer, self.database, self.threads = committer, database, threads

    def waiting(self) -> int:
        with self.committer._lock:
            return sum(map(len, self.committer._waiting.values()))

    def enter(self, workflow_id: str, batch: Batch[Any] = FINISHES, **arguments: Any) -> Future[Any]:
        """The row waits, or is being committed, when this returns."""
        waiting, calls = self.waiting(), len(self.database.calls)
        future = self.threads.submit(self.committer.commit, batch, finish(workflow_id, **arguments))
        wait_until(lambda: self.waiting() > waiting or len(self.database.calls) > calls, what="a thread enters")
        return future
