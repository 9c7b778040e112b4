"""Numbers and ids that a process makes up so that nobody else makes up the same."""

from __future__ import annotations

import os
import random
import time

# Not the system's randomness for each: a token is told apart, not guessed, and a call of the kernel costs more than a
# step's whole share of a transaction.
_random = random.Random(os.urandom(32))

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def token() -> int:
    """63 random bits, by which a repeated call is recognised."""
    return _random.getrandbits(63)


def time_ordered_id() -> str:
    """A UUIDv7: ids of one time lie together in every index."""
    chance = _random.getrandbits(74)
    now = time.time_ns() // 1_000_000 & (2**48 - 1)
    text = f"{now << 80 | 0x7 << 76 | chance >> 62 << 64 | 0b10 << 62 | chance & (2**62 - 1):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
