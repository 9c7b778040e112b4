"""Many steps at once on a queue. `pyengine start`, visit http://localhost:8000/bake/10, press Ctrl-C half-way, and
start again: the loaves that are done stay done.
"""

import time

from fastapi import FastAPI

from pyengine import DBOS, Queue

app = FastAPI()
DBOS(fastapi=app)

# At most four loaves in the oven, over all processes that serve this queue.
oven = Queue("oven", concurrency=4)


@DBOS.step()
def bake(number: int) -> str:
    time.sleep(2)
    print(f"Loaf {number} is done.")
    return f"loaf {number}"


@app.get("/bake/{count}")
@DBOS.workflow()
def bake_all(count: int) -> list[str]:
    print(f"Baking {count} loaves")
    handles = [oven.enqueue(bake, number) for number in range(count)]
    loaves = [handle.get_result() for handle in handles]
    print(f"All {len(loaves)} loaves are done.")
    return loaves
