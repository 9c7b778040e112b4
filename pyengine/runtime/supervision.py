"""What an executor tells its supervisor, if it has one. It is kept in shared memory: no call of these waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where the executor's work lives: the supervisor's warden beats and buries there."""

    url: str
    schema: str
    application: str
    is_pooled: bool | None
    lease_ttl_seconds: float
    is_strict: bool


class Supervision(Protocol):
    @property
    def seat(self) -> str:
        """The place in the fleet that this process fills, as in "host/4711:2"."""

    @property
    def is_isolated(self) -> bool:
        """It claims suspects only, one at a time."""

    def connected(self, place: Place) -> None:
        """Before it registers."""

    def registered(self, executor_id: int, nonce: int) -> None: ...

    def fenced(self) -> None:
        """The lease is lost: be killed and replaced. A supervised executor never registers anew."""

    def unserved(self) -> None:
        """The schema serves only newer engines: it claims nothing more, and ends when its work is done."""

    def resting(self, every_seconds: float) -> None:
        """It has nothing to do: until its next progress it makes one call every so often, as may who beats for it."""

    def progress(self, *, done: int, busy: int) -> None:
        """At every tick that the database answered: how many runs ended here, and how many there are."""

    def count(self, *, done: int, busy: int) -> None:
        """The same, whenever it changes."""

    def order(self, kill: KillOrder | None) -> None:
        """The earliest order that stands, or none. It holds even while the interpreter is held."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the command line of a worker says; it goes before the program's own configuration.

    queues: only these are served, and the internal one. is_dev: an embedded server may be used. config: what a program
    that started this fleet has configured.
    """

    name: str | None = None
    database_url: str | None = None
    queues: tuple[str, ...] | None = None
    is_dev: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)


def assigned(config: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A program's configuration with what the command line says in its place."""
    given = {"name": assignment.name, "system_database_url": assignment.database_url}
    told = {**assignment.config, **{key: value for key, value in given.items() if value is not None}}
    return {**(config or {}), **told} if told else config


# Set in a supervised child before the user's module is imported
current: Supervision | None = None
assignment = Assignment()
# The module that is being imported there
importing: str | None = None
