"""The patient end: running steps end and are recorded, everything else stops where it is and goes on elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..logs import logger

if TYPE_CHECKING:
    from .executor import Executor

_LOOK_SECONDS = 0.02
_TELL_SECONDS = 5.0


def drain_steps(executor: Executor, seconds: float, is_hurried: Callable[[], bool]) -> None:
    """Claim nothing more, let what runs get to its next engine call, at most so long. Beats go on meanwhile.

    A run that sleeps or waits in the engine ends at once, a step that runs is recorded first, and a workflow that is
    at its end still finishes. Nothing of this is handed back yet. `is_hurried` may become true at any time.
    """
    executor.begin_drain()
    until = time.monotonic() + seconds
    tell_at = time.monotonic() + _TELL_SECONDS
    while (left := executor.runs.all()) and time.monotonic() < until and not is_hurried():
        if time.monotonic() >= tell_at:
            tell_at += _TELL_SECONDS
            ids = ", ".join(run.workflow_id for run in left[:10])
            logger.info("Waiting for steps of %d workflow(s): %s", len(left), ids)
        time.sleep(_LOOK_SECONDS)
    if left:
        logger.info("%d workflow(s) are broken off in the middle of a step and handed over", len(left))
