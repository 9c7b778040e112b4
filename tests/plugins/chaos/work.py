"""What the hosts of a chaos run execute: `python work.py`, or a supervisor with the module `work`.

Every step writes its effect to the ledger, over a connection of its own that has nothing to do with the engine's, and
returns under which claim it ran. So what the engine recorded can be compared with what was done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from typing import Any

import psycopg

from pyengine import DBOS, Queue, SetEnqueueOptions, SetWorkflowID
from pyengine.runtime.context import current_run

VERSION = os.environ.get("CHAOS_VERSION", "v1")
HOST = os.environ["CHAOS_HOST"]
URL = os.environ["CHAOS_URL"]
# Of every step. Long enough that faults hit some of them in the middle.
STEP_SECONDS = float(os.environ.get("CHAOS_STEP_SECONDS", "0.03"))
DIRECT_SECONDS = float(os.environ.get("CHAOS_DIRECT_SECONDS", "0.7"))
CALM = "calm"  # a file of this name: start nothing more; with a version behind it: that version starts nothing more

if "CHAOS_SKEW" in os.environ:  # where there is no libfaketime
    _time, _skew = time.time, float(os.environ["CHAOS_SKEW"])
    time.time = lambda: _time() + _skew

DBOS(
    config={
        "name": "chaos",
        "system_database_url": URL,
        "application_version": VERSION,
        "executor_id": HOST,
        "lease_ttl_seconds": float(os.environ.get("CHAOS_TTL", "1")),
    }
)

plain = Queue("plain")
limited = Queue("limited", concurrency=4, worker_concurrency=2)
rated = Queue("rated", limiter={"limit": 6, "period": 1.0})
lanes = Queue("lanes", concurrency=1, partition_queue=True)


class Ledger:
    """One connection a process. A write waits until it is answered, as a call of somebody else's service would."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def write(self, *values: Any) -> None:
        query = (
            "insert into ledger.effects (host, executor_id, fence, workflow_id, step_id, name, value)"
            " values (%s, %s, %s, %s, %s, %s, %s)"
        )
        with self._lock:
            while True:
                try:
                    if self._connection is None:
                        self._connection = psycopg.connect(
                            URL, autocommit=True, connect_timeout=3, tcp_user_timeout=3000, keepalives_idle=2,
                            keepalives_interval=1, keepalives_count=2, application_name="ledger",
                        )  # fmt: skip
                    self._connection.execute(query, values)
                except psycopg.OperationalError:
                    connection, self._connection = self._connection, None
                    if connection is not None:
                        connection.close()
                    time.sleep(0.1)
                else:
                    return


LEDGER = Ledger()


def effect(name: str, value: int) -> dict[str, Any]:
    run = current_run()
    assert run is not None
    LEDGER.write(HOST, run.identity.executor_id, run.fence, run.workflow_id, DBOS.step_id, name, value)
    return {"value": value, "fence": run.fence}


def result(value: int) -> dict[str, Any]:
    run = current_run()
    assert run is not None
    return {"value": value, "fence": run.fence}


@DBOS.step()
def add(value: int, more: int) -> dict[str, Any]:
    time.sleep(STEP_SECONDS)
    return effect("add", value + more)


@DBOS.step(retries_allowed=True, max_attempts=4, interval_seconds=0.05, backoff_rate=1.0)
def add_at_last(value: int, more: int) -> dict[str, Any]:
    """Fails twice and then does what it should."""
    status = DBOS.step_status
    if status is not None and (status.current_attempt or 0) < 2:
        raise ConnectionError("not yet")
    return effect("add", value + more)


@DBOS.step()
async def add_async(value: int, more: int) -> dict[str, Any]:
    await asyncio.sleep(STEP_SECONDS)
    return await asyncio.to_thread(effect, "add", value + more)


@DBOS.workflow(name="chain")
def chain(number: int) -> dict[str, Any]:
    value = number
    for more in range(1, 4):
        value = add(value, more)["value"]
    return result(value)


@DBOS.workflow(name="chain_async")
async def chain_async(number: int) -> dict[str, Any]:
    value = number
    for more in range(1, 4):
        value = (await add_async(value, more))["value"]
    return result(value)


@DBOS.workflow(name="flaky")
def flaky(number: int) -> dict[str, Any]:
    return result(add_at_last(add(number, 1)["value"], 5)["value"])


@DBOS.workflow(name="sleeper")
def sleeper(number: int) -> dict[str, Any]:
    value = add(number, 2)["value"]
    DBOS.sleep(0.5 + number % 4)
    return result(add(value, 4)["value"])


@DBOS.workflow(name="sleeper_async")
async def sleeper_async(number: int) -> dict[str, Any]:
    value = (await add_async(number, 2))["value"]
    await DBOS.sleep_async(0.5 + number % 4)
    return result((await add_async(value, 4))["value"])


@DBOS.workflow(name="family")
def family(number: int) -> dict[str, Any]:
    """Three children: one called, one started here, one put on a limited queue. Each gives number + 6."""
    value = add(0, 0)["value"]
    beside = DBOS.start_workflow(chain_async, number)
    with SetEnqueueOptions(deduplication_id=f"family-{DBOS.workflow_id}"):
        elsewhere = limited.enqueue(chain, number)
    for each in (chain(number), beside.get_result(), elsewhere.get_result()):
        value = add(value, each["value"])["value"]
    return result(value)


@DBOS.workflow(name="failing")
def failing(number: int) -> dict[str, Any]:
    value = add(number, 6)["value"]
    raise ValueError(f"meant to fail with {value}")


@DBOS.scheduled("* * * * * *")
@DBOS.workflow(name="every_second")
def every_second(scheduled: Any, actual: Any) -> dict[str, Any]:
    return result(add(0, 6)["value"])


def say(*words: Any) -> None:
    print(*words, flush=True)


def start_directly() -> None:
    """A program that starts workflows of its own, told when each is acknowledged."""
    for number in range(10**9):
        if os.path.exists(CALM) or os.path.exists(f"{CALM}-{VERSION}"):
            threading.Event().wait()
        workflow_id = f"{'chain' if number % 2 else 'sleeper'}-direct-{HOST}-{os.getpid()}-{number}"
        with SetWorkflowID(workflow_id):
            DBOS.start_workflow(chain if number % 2 else sleeper, number)
        say("acknowledged", workflow_id, number)
        time.sleep(DIRECT_SECONDS)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    DBOS.launch()
    say("up", os.getpid())
    try:
        start_directly()
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=float(os.environ.get("CHAOS_GRACE", "10")))
