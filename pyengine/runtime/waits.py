"""What other processes wait for, as they have told: whoever ends such a workflow answers, and nobody else is bothered.

Only hints: a listener that is told nothing, because its question came late or was forgotten, finds out by polling.
"""

from __future__ import annotations

import threading
import time

from .notifications import Voice

# A listener repeats its question well before it is forgotten.
ASK_AGAIN_SECONDS = 20.0
_FORGET_SECONDS = 60.0
_MOST = 10_000


class Waits:
    def __init__(self, voice: Voice | None) -> None:
        """`voice`: None where processes tell each other nothing."""
        self._voice = voice
        self._lock = threading.Lock()
        # Workflow ids, those asked for last at the end: who asked, and when somebody did last.
        self._asked: dict[str, tuple[set[str], float]] = {}

    def hear(self, question: str) -> None:
        """`question` is as notify_waits tells it: a listener and a workflow id."""
        listener, _, workflow_id = question.partition(" ")
        if self._voice is None:
            return
        now = time.monotonic()
        with self._lock:
            listeners, _ = self._asked.pop(workflow_id, (set(), now))
            self._asked[workflow_id] = ({*listeners, listener}, now)
            self._forget(now)

    def ended(self, workflow_id: str) -> None:
        """The outcome of a workflow is committed."""
        if workflow_id not in self._asked:  # as for nearly all: no lock for them
            return
        with self._lock:
            listeners, _ = self._asked.pop(workflow_id, ((), 0.0))
        if self._voice is not None:
            for listener in listeners:
                self._voice.answer(listener, workflow_id)

    def _forget(self, now: float) -> None:
        while self._asked:
            oldest = next(iter(self._asked))
            if len(self._asked) <= _MOST and self._asked[oldest][1] + _FORGET_SECONDS > now:
                return
            del self._asked[oldest]
