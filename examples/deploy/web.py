"""Places orders over HTTP: `fastapi run web.py`."""

from fastapi import FastAPI
from orders import fulfil, queue

from pyengine import DBOS

app = FastAPI()
DBOS(fastapi=app, config={"name": "orders"})


@app.post("/orders/{order}")
def place(order: int) -> dict[str, str]:
    return {"workflow_id": queue.enqueue(fulfil, order).workflow_id}


@app.get("/healthz")
def healthz() -> dict[str, bool]:
    return {"ok": True}
