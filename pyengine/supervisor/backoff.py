"""How long a seat stays empty after its child died."""

from __future__ import annotations

import random

_FIRST_SECONDS = 0.5
_CEILING_SECONDS = 30.0
# A child that lived for so long did not die of how it starts.
_SETTLED_SECONDS = 10.0


class RestartBackoff:
    """The first death is made good at once; those that follow closely wait longer and longer."""

    def __init__(self, ceiling: float = _CEILING_SECONDS) -> None:
        self._ceiling = ceiling
        self._deaths = 0

    def after_death(self, lived_seconds: float) -> float:
        """The seconds to wait."""
        if lived_seconds >= _SETTLED_SECONDS:
            self._deaths = 0
        self._deaths += 1
        if self._deaths == 1:
            return 0.0
        delay = min(self._ceiling, _FIRST_SECONDS * 2.0 ** min(self._deaths - 2, 30))
        return delay * random.uniform(0.75, 1.0)
