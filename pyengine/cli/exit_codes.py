"""What the exit status of a command means. Documented in docs/reference/cli.md.

`start` is different: it returns the status of what it ran.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    FAILURE = 1
    """It was not done; one line on stderr says why and what to do."""
    USAGE = 2
    """The command line itself is wrong."""
    NOT_SERVED = 3
    """The schema serves only newer engines than this one."""
    PENDING = 4
    """`migrate --check`: a migration is due."""
    UNHEALTHY = 5
    """`doctor` found something."""
    INTERRUPTED = 130
    """Ctrl-C."""


def of_signal(number: int) -> int:
    """The status by which shells tell that a process was ended by a signal."""
    return 128 + number
