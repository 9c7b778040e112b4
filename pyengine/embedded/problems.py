"""What keeps the embedded server from starting, as one line that says what to do.

Two classes, because the keeper loads neither the engine nor anything outside the standard library: it raises
ServerProblem and reports its text to the process that started it, where it becomes EmbeddedUnavailable.
"""

from __future__ import annotations


class ServerProblem(Exception):
    """One line for the user."""
