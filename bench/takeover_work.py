"""The program of `bench takeover`: each step says when it began (a clock that all processes of the machine share)."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from pyengine import DBOS, Queue

DBOS(
    config={
        "name": "chaos",
        "system_database_url": os.environ["CHAOS_URL"],
        "application_version": "v1",
        "executor_id": os.environ["CHAOS_HOST"],
        "lease_ttl_seconds": float(os.environ["CHAOS_TTL"]),
    }
)
work = Queue("work")


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


@DBOS.step()
def hold(name: str) -> None:
    """Whoever runs it first stays in it for ever; the next one says when."""
    began = time.monotonic()
    try:
        with open(f"held-{name}", "x"):
            pass
    except FileExistsError:
        say("again", name, began, os.getpid())
        return
    say("held", name, began, os.getpid())
    time.sleep(3600)


@DBOS.step()
def tick(name: str, number: int) -> None:
    say("tick", name, time.monotonic(), os.getpid(), number)
    time.sleep(0.02)


@DBOS.workflow(name="holding")
def holding(name: str) -> None:
    hold(name)


@DBOS.workflow(name="ticking")
def ticking(name: str) -> None:
    for number in range(10**6):
        if os.path.exists(f"enough-{name}"):
            return
        tick(name, number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    DBOS.launch()
    try:
        threading.Event().wait()
    finally:
        DBOS.destroy()
