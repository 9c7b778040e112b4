"""Kernel locks on files: what a process holds here is gone the moment the process is, however it ended.

flock, not POSIX record locks. A record lock is dropped as soon as its process closes *any* descriptor of the file, so a
program that merely reads every file below its folder (a backup, an indexer) would silently lose it and have its server
stopped under it. The price of flock is that a forked child inherits it. Three things keep that from mattering: the
descriptors are close-on-exec, a hook closes them in every child that Python forks, and in the one case left (a fork
inside a C library that is never followed by exec) the error is on the harmless side: the server lives a little longer.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

POLL_SECONDS = 0.005
_held: set[Lock] = set()


class LockTimeout(Exception):
    """Somebody else kept the lock for the whole time this process was ready to wait."""


class Lock:
    """One open file description that may carry a lock. Lives until `close` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # O_NOFOLLOW: root never opens what a link planted in the folder points to.
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        _held.add(self)

    def try_shared(self) -> bool:
        return self._try(shared=True)

    def try_exclusive(self) -> bool:
        return self._try(shared=False)

    def unlock(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def acquire(self, *, shared: bool, deadline: float) -> None:
        """Wait for the lock. Polls, because a blocking flock knows no deadline."""
        while not self._try(shared=shared):
            if time.monotonic() > deadline:
                raise LockTimeout(str(self.path))
            time.sleep(POLL_SECONDS)

    def is_current(self) -> bool:
        """Whether the path still names the file that is locked; it does not once somebody deleted the folder."""
        if self not in _held:
            return False
        try:
            there = os.stat(self.path)
        except OSError:
            return False
        here = os.fstat(self.descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Let go. Safe to repeat. Never unlocks explicitly: in a forked child that would unlock the parent too."""
        if self in _held:
            _held.discard(self)
            os.close(self.descriptor)

    def _try(self, *, shared: bool) -> bool:
        try:
            fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_locked(path: Path) -> bool:
    """Whether somebody holds the exclusive lock on this file now."""
    lock = Lock(path)
    try:
        return not lock.try_shared()
    finally:
        lock.close()


def publish(path: Path, text: str) -> Lock:
    """Write a file that counts only as long as the returned lock is held: a killed writer's word is void at once."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    lock = Lock(scratch)
    lock.acquire(shared=False, deadline=time.monotonic() + 1.0)
    os.ftruncate(lock.descriptor, 0)
    os.write(lock.descriptor, text.encode())
    os.replace(scratch, path)
    lock.path = path
    return lock


def read_published(path: Path) -> str | None:
    """The text of a published file whose writer lives. Lock and text belong to the same open file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 65536).decode()
    finally:
        os.close(descriptor)
    return None


def _forget_in_child() -> None:
    for lock in list(_held):
        with suppress(OSError):
            lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
