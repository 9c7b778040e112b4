"""What the configuration has to tell its user, each line once per process."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from pyengine import logs


@dataclass(frozen=True)
class Note:
    level: int
    text: str

    def log(self, logger: logging.Logger = logs.logger) -> None:
        """Log this line, unless this process has done so before."""
        announcer.announce([self], logger)


class Announcer:
    """Logs notes it has not logged before: `DBOS()` is often made again in tests, reloads and CLI commands."""

    def __init__(self) -> None:
        self._said: set[Note] = set()

    def announce(self, notes: Iterable[Note], logger: logging.Logger = logs.logger) -> None:
        for note in notes:
            if note not in self._said:
                self._said.add(note)
                logger.log(note.level, "%s", note.text)

    def forget(self) -> None:
        self._said.clear()


announcer = Announcer()


def info(text: str) -> Note:
    return Note(logging.INFO, text)


def warning(text: str) -> Note:
    return Note(logging.WARNING, text)
