"""The plan of a chaos run: which fault happens when and to whom. The same seed gives the same plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

# kind → how often it is drawn, against the others
WEIGHTS = {
    "kill": 5,
    "kill_host": 2,
    "freeze": 4,
    "freeze_host": 1,
    "cut": 3,
    "deaf": 2,
    "mute": 1,
    "unplug": 1,
    "vanish": 2,
    "drain": 3,
    "terminate_backends": 3,
    "crash_postgres": 1,
    "restart_postgres": 1,
    "failover": 1,
    "deploy": 1,
    "skew": 2,
}
# However short the run: each of these happens.
ALWAYS = tuple(WEIGHTS)
# One at a time
_WHOLE_SERVER = {"crash_postgres", "restart_postgres", "failover"}


@dataclass(frozen=True)
class Fault:
    """`seconds`: how long it lasts. `host` is a number, `share` in [0, 1) chooses among what there is then."""

    at: float
    kind: str
    host: int
    seconds: float
    share: float

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.kind:<18} host {self.host}  for {self.seconds:.1f} s"


def plan(
    seed: int, seconds: float, *, hosts: int, ttl: float, every: float, kinds: Sequence[str] = ALWAYS
) -> list[Fault]:
    """Faults over so many seconds, one about every `every` seconds; each kind at least once if there is room."""
    chance = random.Random(seed)
    count = max(len(kinds), round(seconds / every))
    drawn = list(kinds) + chance.choices(kinds, [WEIGHTS[kind] for kind in kinds], k=count - len(kinds))
    chance.shuffle(drawn)
    faults, server_is_free_at, room = [], 0.0, seconds / count
    for number, kind in enumerate(drawn):
        at = room * (number + chance.random())
        lasts = chance.uniform(*_length(kind, ttl))
        host, share = chance.randrange(hosts), chance.random()
        if kind in _WHOLE_SERVER:
            at = max(at, server_is_free_at)
            server_is_free_at = at + lasts + 4 * ttl + 4.0
        faults.append(Fault(round(at, 2), kind, host, round(lasts, 2), round(share, 3)))
    return sorted(faults, key=lambda fault: fault.at)


def _length(kind: str, ttl: float) -> tuple[float, float]:
    if kind.startswith("freeze"):
        # From a hiccup to well past what a held liveness lock allows.
        return 0.5 * ttl, 6 * ttl
    if kind in ("cut", "deaf", "mute", "unplug"):
        return 0.3 * ttl, 6 * ttl
    if kind == "vanish":
        return 3 * ttl, 8 * ttl
    if kind == "skew":
        return 2 * ttl, 10 * ttl
    if kind in _WHOLE_SERVER:
        return 0.2, 3 * ttl
    return 0.1, 2 * ttl  # until it is started again
