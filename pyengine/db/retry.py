"""Patience: how long to wait before a repeat, and one log line per outage instead of one per try."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

from ..logs import logger


@dataclass(slots=True)
class Backoff:
    """Jittered exponential delays, in seconds."""

    first: float = 0.05
    ceiling: float = 1.0
    current: float = 0.0

    def next(self) -> float:
        self.current = min(self.ceiling, self.current * 2 or self.first)
        return self.current * random.uniform(0.75, 1.25)

    def reset(self) -> None:
        self.current = 0.0


@dataclass(slots=True)
class OutageLog:
    """Says once that Postgres is away and once that it is back, whoever notices."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    is_out: bool = False

    def lost(self, error: BaseException) -> None:
        with self.lock:
            if self.is_out:
                return
            self.is_out = True
        logger.warning("Postgres is not answering, waiting for it: %s", str(error).strip().split("\n")[0])

    def found(self) -> None:
        if not self.is_out:
            return
        with self.lock:
            if not self.is_out:
                return
            self.is_out = False
        logger.info("Postgres is answering again")
