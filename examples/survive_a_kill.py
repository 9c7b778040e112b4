"""A workflow of five slow steps. Kill it with `kill -9` and start it again with the same id: it goes on where it was.

python survive_a_kill.py my-order
"""

from __future__ import annotations

import sys
import time

from pyengine import DBOS, SetWorkflowID

DBOS()


@DBOS.step()
def work(number: int) -> int:
    time.sleep(0.5)
    print(f"step {number} of 5 done", flush=True)
    return number


@DBOS.workflow()
def order() -> int:
    return sum(work(number) for number in range(1, 6))


if __name__ == "__main__":
    DBOS.launch()
    # The id makes the start repeatable: the second call finds the workflow of the first and does not start another.
    with SetWorkflowID(sys.argv[1]):
        handle = DBOS.start_workflow(order)
    print("result:", handle.get_result(), flush=True)
    DBOS.destroy()
