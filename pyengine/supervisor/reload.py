"""`pyengine worker --reload`: starts the fleet anew whenever a source file changes. For development."""

from __future__ import annotations

import signal
from pathlib import Path

from ..logs import logger
from ..runtime.fleet import FleetProcess
from . import changes
from .pipes import pipe
from .signals import HANDLED, HasFileno, Signals, wait
from .spec import WorkerSpec

# In development nobody waits for long steps: they run again.
_GRACE_SECONDS = 2.0


def run(spec: WorkerSpec) -> int:
    """Until it is told to end; the exit status of the last fleet."""
    return _Reloader(spec, Path.cwd().resolve()).run()


class _Reloader:
    def __init__(self, spec: WorkerSpec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder
        self._changed: list[str] = []
        self._hears, self._bell = pipe()
        self._signals = Signals(HANDLED)
        self._ends = 0
        self._is_up = True

    def run(self) -> int:
        # Before the first import: what changes meanwhile is seen.
        means = changes.watch(self._folder, self._tell)
        logger.info("Reloading when a source file below %s changes (%s)", self._folder, means)
        fleet = self._start()
        sources: list[HasFileno] = [self._signals, self._hears]
        while True:
            wait(sources, None)
            for number in self._signals.taken():
                if number != signal.SIGCHLD:
                    self._end(fleet)
            self._hears.drain()
            status = fleet.wait(0)  # after its signal was taken: none is missed
            if self._ends:
                if status is not None:
                    return status
            elif self._changed:
                fleet = self._restart(fleet)
            elif status is not None and self._is_up:
                self._is_up = False
                fleet.let_go()
                logger.error("The worker ended with status %d; the next change starts it again", status)

    def _start(self) -> FleetProcess:
        self._is_up = True
        return FleetProcess(self._spec.as_plain())

    def _restart(self, fleet: FleetProcess) -> FleetProcess:
        names = sorted({str(Path(path).relative_to(self._folder)) for path in self._changed})
        self._changed = []
        logger.info("%s changed: starting again", ", ".join(names[:5]) + (" …" if len(names) > 5 else ""))
        fleet.end(min(_GRACE_SECONDS, self._spec.grace_seconds))
        return self._start()

    def _end(self, fleet: FleetProcess) -> None:
        self._ends += 1
        if self._ends == 1:
            fleet.drain()
        else:
            fleet.let_go()

    def _tell(self, paths: list[str]) -> None:
        """On the watcher's thread."""
        self._changed = [*self._changed, *paths]
        self._bell.ring()
