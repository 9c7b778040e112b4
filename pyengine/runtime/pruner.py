"""Removes what has been finished for long enough, in batches, for whichever application is due.

A thread of its own, which lives for as long as there is something to remove: the beat waits for nothing.
"""

from __future__ import annotations

import threading
import time

from ..db import calls
from ..db.database import Database
from ..errors import ExecutorStopping
from ..logs import logger

_SMALLEST, _LARGEST = 50, 1000
# A batch that takes longer is followed by a smaller one; one that takes much less, by a larger one.
_BATCH_SECONDS = 0.1


class Pruner:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def begin(self) -> None:
        """There is something due. Nothing happens while it is being done already."""
        with self._lock:
            if self._stopped.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._prune, name="pyengine-pruner", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _prune(self) -> None:
        """As many batches as there is work for, and a pause after each that is as long as it took: it keeps up with
        any load, with half of a connection's time at most.
        """
        limit, pruned = 200, 0
        try:
            while not self._stopped.is_set():
                began = time.monotonic()
                batch = self._database.one(calls.prune_workflows, limit=limit)
                took = time.monotonic() - began
                pruned += batch.pruned
                if not batch.remaining:
                    break
                if took > _BATCH_SECONDS:
                    limit = max(_SMALLEST, limit // 2)
                elif took < _BATCH_SECONDS / 3:
                    limit = min(_LARGEST, limit * 2)
                self._stopped.wait(took)
        except ExecutorStopping:
            return
        except Exception as error:
            logger.error("Finished workflows could not be removed; it is tried again: %s", error)
        if pruned:
            logger.debug("Removed %d finished workflow(s)", pruned)
