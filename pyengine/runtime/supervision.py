"""What an executor tells its supervisor, if it has one. It is kept in shared memory: no call of these waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KillOrder:
    """User code that must be over by `at` (`time.monotonic()`), or the process that runs it is killed.

    `step_id` is null if it is the workflow itself that had to end.
    """

    at: float
    seconds: float
    workflow_id: str
    fence: int
    step_id: int | None
    step_name: str
    attempt: int


class Supervision(Protocol):
    @property
    def seat(self) -> str:
        """The place in the fleet that this process fills, as in "host/4711:2"."""

    @property
    def is_isolated(self) -> bool:
        """It claims suspects only, one at a time."""

    def registered(self, executor_id: int, nonce: int) -> None: ...

    def fenced(self) -> None:
        """The lease is lost: be killed and replaced. A supervised executor never registers anew."""

    def progress(self, *, done: int) -> None:
        """Told at every tick: how many workflows came to an end here."""

    def order(self, kill: KillOrder | None) -> None:
        """The earliest order that stands, or none. It holds even while the interpreter is held."""


# Set in a supervised child before the user's module is imported
current: Supervision | None = None
