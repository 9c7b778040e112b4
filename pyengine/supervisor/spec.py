"""What a worker is asked to be: made by the command line, or by a program that starts a fleet of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

START_METHODS = ("fork", "spawn")
DEFAULT_GRACE_SECONDS = 25.0  # Kubernetes kills after 30: the rest is for handing back


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """Everything a parent needs. Plain values only: it travels to spawned children, and as JSON to a fresh interpreter.

    targets: "module", "module:attribute" or a path to a Python file; each child imports them all, in this order.
    config: keys of DBOSConfig, which go before the program's own. declared: queues that the program which started this
    declared where an import does not come by, as QueueSpec has them.
    """

    targets: tuple[str, ...]
    processes: int
    queues: tuple[str, ...] | None = None
    name: str | None = None
    database_url: str | None = None
    is_dev: bool = False
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    max_tasks: int | None = None
    max_rss_mb: int | None = None
    start_method: str | None = None
    health: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    declared: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> str:
        return json.dumps(self.as_plain())

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        return cls.from_plain(json.loads(text))

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, told: Mapping[str, Any]) -> WorkerSpec:
        """From what came as JSON, which knows no tuples."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
        return cls(**values)
