"""The smallest durable program: a workflow of two steps. What a step returned is kept before the next one starts."""

from __future__ import annotations

from pyengine import DBOS

DBOS()


@DBOS.step()
def write_greeting(name: str) -> str:
    print("step 1: write a greeting")
    return f"Hello, {name}!"


@DBOS.step()
def sign_guestbook(greeting: str) -> None:
    print(f"step 2: sign the guestbook with {greeting!r}")


@DBOS.workflow()
def greet(name: str) -> str:
    greeting = write_greeting(name)
    sign_guestbook(greeting)
    return greeting


if __name__ == "__main__":
    DBOS.launch()
    print("result:", greet("reader"))
    DBOS.destroy()
