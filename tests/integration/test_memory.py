"""What an engine keeps in memory: little for a workflow that sleeps, nothing for one that was enqueued and is done.

In CI at a tenth of the size; PYENGINE_SOAK=1 takes the whole.
"""

from __future__ import annotations

import os
import re
import sys

import pytest

from plugins.processes import Processes

IS_SOAK = os.environ.get("PYENGINE_SOAK") == "1"
SCALE = 1 if IS_SOAK else 10
SECONDS = 1800 if IS_SOAK else 120

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
    pytest.mark.timeout(0 if IS_SOAK else 600),
]

COMMON = """
import asyncio, gc, os, sys, threading
from pyengine import DBOS, Queue

url, count = sys.argv[1], int(sys.argv[2])
# Threads keep their stacks: how many are needed is another matter.
DBOS(config={"name": "memory", "system_database_url": url, "max_executor_threads": 16})

def say_memory(when):
    gc.collect()
    with open("/proc/self/statm") as file:
        print(when, int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), flush=True)
"""
SLEEPERS = (
    COMMON
    + """
asleep = 0

@DBOS.workflow()
async def nap():
    global asleep
    asleep += 1
    await DBOS.sleep_async(3600)

async def main():
    say_memory("before")
    for first in range(0, count, 500):
        await asyncio.gather(*(DBOS.start_workflow_async(nap) for _ in range(min(500, count - first))))
    while asleep < count:
        await asyncio.sleep(0.05)
    say_memory("after")

DBOS.launch()
asyncio.run(main())
os._exit(0)
"""
)
ENQUEUED = (
    COMMON
    + """
queue = Queue("queue")

@DBOS.workflow()
def work(number):
    return number

def enqueue(first, last):
    for number in range(first, last):
        handle = queue.enqueue(work, number)
    handle.get_result()

def enqueue_all(count):
    threads = [threading.Thread(target=enqueue, args=(0, count // 10)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

DBOS.launch()
enqueue_all(count // 5)  # buffers, caches and threads find their size
say_memory("before")
enqueue_all(count)
say_memory("after")
os._exit(0)
"""
)


def measure(processes: Processes, source: str, url: str, count: int) -> tuple[int, int]:
    """Resident bytes before and after."""
    program = processes.start(source, url, str(count))
    found = []
    for when in ("before", "after"):
        line = program.wait_for_line(rf"^{when} \d+$", timeout_seconds=SECONDS)
        match = re.search(r"\d+", line.text)
        assert match is not None
        found.append(int(match[0]))
    return found[0], found[1]


def test_ten_thousand_sleeping_workflows_need_a_quarter_of_a_gigabyte(database_url: str, processes: Processes) -> None:
    count = 10_000 // SCALE
    before, after = measure(processes, SLEEPERS, database_url, count)

    assert before + (after - before) * SCALE <= 250e6, (before, after)


def test_a_hundred_thousand_enqueued_leave_nothing_behind(database_url: str, processes: Processes) -> None:
    count = 100_000 // SCALE
    before, after = measure(processes, ENQUEUED, database_url, count)

    # An id alone, remembered, would take more.
    assert after - before <= 4e6 + 100 * count, (before, after)
