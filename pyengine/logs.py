"""The engine's one logger, `DBOS.logger`, and the one handler it brings along.

The handler is for programs that did not configure logging themselves. Whether they did is asked at every record, not
once: `logging.basicConfig()` may come after `DBOS()`, and pytest's `caplog` comes and goes with each test.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

LOGGER_NAME = "dbos"
FORMAT = "%(asctime)s [%(levelname)8s] (%(name)s:%(filename)s:%(lineno)d) %(message)s"
DATE_FORMAT = "%H:%M:%S"

logger = logging.getLogger(LOGGER_NAME)

# Handlers that send records away to a collector: an application that has only these still expects lines on its console.
_EXPORTERS = ("opentelemetry", "sentry_sdk")


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # takes no type argument before Python 3.11


class ConsoleHandler(_StreamHandler):
    """Writes to whatever `sys.stderr` is at that moment, unless the application handles the record itself."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # not StreamHandler's, which would bind today's sys.stderr
        self.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        # There is no stderr under pythonw, and a closed one when a thread logs while the interpreter ends.
        if sys.stderr is None or sys.stderr.closed or _application_handles():
            return
        super().emit(record)


def parse_level(value: int | str) -> int:
    """Return the number of a logging level given as a name in any case or as a number."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("a logging level is needed")
    if isinstance(value, int):
        if value < 0:
            raise ValueError("a logging level is not negative")
        return value
    number = logging.getLevelName(value.strip().upper())
    if not isinstance(number, int):
        raise ValueError("one of DEBUG, INFO, WARNING, ERROR, CRITICAL is needed")
    return number


def configure(level: int | str = logging.INFO, console_level: int | str | None = None) -> None:
    """Set the levels and install the console handler, once; later calls only change the levels.

    `console_level` is what the console shows when that differs from `level`; it may be the more talkative of the two.
    """
    own = parse_level(level)
    console = own if console_level is None else parse_level(console_level)
    logger.setLevel(min(own, console))
    handler = _console_handler()
    if handler is None:
        handler = ConsoleHandler()
        logger.addHandler(handler)
    handler.setLevel(console)


def _console_handler() -> ConsoleHandler | None:
    return next((handler for handler in logger.handlers if isinstance(handler, ConsoleHandler)), None)


def _application_handles() -> bool:
    handlers = [*logger.handlers, *(logging.getLogger().handlers if logger.propagate else ())]
    return any(
        not isinstance(handler, (ConsoleHandler, logging.NullHandler))
        and not type(handler).__module__.startswith(_EXPORTERS)
        for handler in handlers
    )
