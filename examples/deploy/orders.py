"""Orders that any number of hosts work off: `pyengine worker orders --name orders` on each, `python orders.py 20` to
place some.
"""

import sys
import time

from pyengine import DBOS, Queue

queue = Queue("orders", worker_concurrency=8)


@DBOS.step()
def reserve(order: int) -> str:
    time.sleep(0.2)
    return f"parcel {order}"


@DBOS.step()
def ship(parcel: str) -> str:
    time.sleep(0.2)
    print(f"shipped: {parcel}", flush=True)
    return parcel


@DBOS.workflow()
def fulfil(order: int) -> str:
    return ship(reserve(order))


if __name__ == "__main__":
    DBOS(config={"name": "orders"})
    DBOS.launch()
    handles = [queue.enqueue(fulfil, order) for order in range(int(sys.argv[1]))]
    print("fulfilled:", len([handle.get_result() for handle in handles]))
    DBOS.destroy()
