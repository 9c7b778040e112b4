"""A workflow behind an endpoint. `pyengine start`, visit http://localhost:8000/order/cake, press Ctrl-C while it bakes,
and start again: the order goes on where it was, and the oven is not heated twice.

The header `dbos-idempotency-key` names the workflow: the same key never bakes a second cake.
"""

from fastapi import FastAPI

from pyengine import DBOS

app = FastAPI()
DBOS(fastapi=app)


@DBOS.step()
def heat_oven() -> None:
    print("The oven is hot.")


@DBOS.step()
def hand_over(what: str) -> None:
    print(f"Here is your {what}!")


@app.get("/order/{what}")
@DBOS.workflow()
def order(what: str) -> str:
    heat_oven()
    for minute in range(1, 6):
        print(f"Baking the {what}, minute {minute}...")
        DBOS.sleep(1)  # durable: after a restart only what is left of it is slept
    hand_over(what)
    return what
