"""The smallest durable program: a workflow of two steps.

Run it twice: each run is a workflow of its own. `pyengine workflow list` shows them.
"""

from pyengine import DBOS

DBOS()


@DBOS.step()
def bake_bread() -> str:
    print("The bread is baked.")
    return "bread"


@DBOS.step()
def deliver(what: str) -> None:
    print(f"The {what} is delivered.")


@DBOS.workflow()
def morning() -> str:
    bread = bake_bread()
    deliver(bread)
    return bread


if __name__ == "__main__":
    DBOS.launch()
    morning()
