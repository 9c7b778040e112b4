"""What a worker is asked to be: made by the command line, or by a program that starts a fleet of its own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

DEFAULT_GRACE_SECONDS = 25.0  # Kubernetes kills after 30: the rest is for handing back


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """Everything a parent needs. Plain values only: it travels to spawned children, and as JSON to a fresh interpreter.

    targets: "module", "module:attribute" or a path to a Python file; each child imports them all, in this order.
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

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        values = json.loads(text)
        values["targets"] = tuple(values["targets"])
        if values.get("queues") is not None:
            values["queues"] = tuple(values["queues"])
        return cls(**values)
