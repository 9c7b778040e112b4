"""The client of a chaos run: enqueues, repeats what got no answer, and remembers what was acknowledged."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pyengine.db import calls
from pyengine.db.function import statement
from pyengine.serialization import Codec

KINDS = ("chain", "chain", "chain_async", "flaky", "sleeper", "sleeper_async", "family", "failing")
QUEUES = ("plain", "plain", "limited", "rated", "lanes")


@dataclass(frozen=True)
class Acknowledged:
    kind: str
    number: int


class Load:
    """So many enqueues a second on a thread of its own, until `stop`."""

    def __init__(self, url: Callable[[], str], *, per_second: float, seed: int, version: str | None = None) -> None:
        self.acknowledged: dict[str, Acknowledged] = {}
        # Refused: another unfinished workflow of the queue held the deduplication id.
        self.deduplicated: set[str] = set()
        self.delays: list[float] = []
        self.version = version
        self._url = url
        self._pause = 1 / per_second
        self._chance = random.Random(seed)
        self._codec = Codec()
        self._stopped = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._loop, name="load", daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the client still waits for Postgres"
        if self._error is not None:
            raise self._error
        if self._connection is not None:
            self._connection.close()

    def _loop(self) -> None:
        try:
            number = 0
            while not self._stopped.is_set():
                number += 1
                self._enqueue(number)
                self._stopped.wait(self._pause)
        except BaseException as error:
            self._error = error

    def _enqueue(self, number: int) -> None:
        kind, queue = self._chance.choice(KINDS), self._chance.choice(QUEUES)
        workflow_id = f"{kind}-{number}"
        is_unique = self._chance.random() < 0.2
        arguments: dict[str, Any] = {name: None for name, _ in calls.enqueue_workflow.arguments}
        arguments |= {
            "start_token": secrets.randbits(63),
            "workflow_id": workflow_id,
            "name": kind,
            "application": "chaos",
            "app_version": self.version,
            "inputs": self._codec.encode_call((number,), {}),
            "queue": queue,
            "partition_key": f"lane {self._chance.randrange(4)}" if queue == "lanes" else None,
            "priority": self._chance.randrange(3),
            "deduplication_id": f"unique {self._chance.randrange(3)}" if is_unique else None,
            "delay": timedelta(seconds=self._chance.random() * 2) if self._chance.random() < 0.1 else None,
        }
        began = time.monotonic()
        verdict = self._ask(arguments)
        self.delays.append(time.monotonic() - began)
        if verdict == "yours":
            self.acknowledged[workflow_id] = Acknowledged(kind, number)
        else:
            assert verdict == "deduplicated", f"enqueue of {workflow_id} was answered {verdict}"
            self.deduplicated.add(workflow_id)

    def _ask(self, arguments: dict[str, Any]) -> str:
        """Until there is an answer: the start token makes the repeat of an enqueue that arrived the same one."""
        query = statement(calls.enqueue_workflow, "pyengine")
        values = calls.enqueue_workflow.bind(dict(arguments))
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(
                        self._url(), autocommit=True, row_factory=dict_row, connect_timeout=3, tcp_user_timeout=3000
                    )
                row = self._connection.execute(query, values).fetchone()
            except psycopg.OperationalError:
                connection, self._connection = self._connection, None
                if connection is not None:
                    connection.close()
                time.sleep(0.05)
            else:
                assert row is not None
                return str(row["verdict"])
