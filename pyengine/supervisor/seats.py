"""Seats: the places of the fleet, each filled by one child after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from .backoff import RestartBackoff
from .board import Kind, Slot
from .pipes import Bell
from .processes import Child

# Nobody else does what these do.
_URGENT_CEILING_SECONDS = 2.0


@dataclass(slots=True)
class Seat:
    number: int
    kind: int
    backoff: RestartBackoff = field(default_factory=RestartBackoff)
    child: Child | None = None
    slot: Slot | None = None
    bell: Bell | None = None
    """Rung when work became claimable: the child looks at its queues."""
    incarnations: int = 0
    restart_at: int = 0
    """Monotonic nanoseconds, as all times on the board."""
    stopped_since: int = 0
    is_retired: bool = False
    is_told_to_end: bool = False

    def close_bell(self) -> None:
        if self.bell is not None:
            self.bell.close()
            self.bell = None

    @property
    def is_empty(self) -> bool:
        return self.child is None

    @property
    def name(self) -> str:
        return {Kind.WARDEN: "warden", Kind.ISOLATED: "isolated executor"}.get(self.kind, f"executor {self.number}")


def seats(processes: int) -> tuple[Seat, list[Seat], Seat]:
    """The warden's, those of the executors, and the one for suspects."""
    return (
        Seat(0, Kind.WARDEN, RestartBackoff(_URGENT_CEILING_SECONDS)),
        [Seat(number, Kind.EXECUTOR) for number in range(1, processes + 1)],
        Seat(processes + 1, Kind.ISOLATED, RestartBackoff(_URGENT_CEILING_SECONDS)),
    )
