"""Pipes between parent and children. They carry no messages: one rings, and whoever hears it looks at the board."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from multiprocess.reduction import DupFd


class PipeEnd:
    """One end of a pipe, which a spawned child gets as well. It never blocks."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), DupFd(self._descriptor))

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Reader(PipeEnd):
    def drain(self) -> bool:
        """Take what arrived. False at the end: nobody holds the other end any more."""
        with contextlib.suppress(BlockingIOError):
            while received := os.read(self._descriptor, 4096):
                if len(received) < 4096:
                    return True
            return False
        return True


class Bell(PipeEnd):
    def ring(self) -> None:
        # Full: it has been rung often enough. Broken: nobody is there to hear it.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, b"!")


def pipe() -> tuple[Reader, Bell]:
    reader, writer = os.pipe()
    return Reader(reader), Bell(writer)


def _rebuilt(kind: type[PipeEnd], descriptor: Any) -> PipeEnd:
    return kind(descriptor.detach())
