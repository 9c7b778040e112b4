"""The board: what parent, warden and executors know of each other, in memory that all of them map.

It has a slot for each incarnation of a child that lives or is not buried yet, and every field has one writer. Numbers
are aligned 64-bit words, which are written and read whole; texts carry their checksum, so that one whose writer was
killed in the middle is not believed.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

from multiprocess.reduction import DupFd

_WORDS = 64
_WORD_BYTES = 8 * _WORDS
# An id that Postgres can index has less than 2.7 KB.
_ORDER_BYTES = 4096
_PLACE_BYTES = 4096
_SLOT_BYTES = _WORD_BYTES + _ORDER_BYTES + _PLACE_BYTES
_READS = 5


class _Word:
    """One field. Reading it never waits, and neither does writing."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, holder: _Words, owner: type | None = None) -> int:
        return holder.words[self._index]

    def __set__(self, holder: _Words, value: int) -> None:
        holder.words[self._index] = value


class _Words:
    words: memoryview[int]


class Kind:
    EXECUTOR, ISOLATED, WARDEN = 0, 1, 2


class State:
    """Of a slot, as the parent sees it."""

    FREE, ALIVE, DEAD = 0, 1, 2


class Phase:
    """Of a child, as it sees itself."""

    STARTING, READY, DRAINING, ENDED = 0, 1, 2, 3


class Killed:
    """Why the parent killed a child; NOT if it did not."""

    NOT, ORDER, FENCED, FROZEN, GRACE, STUCK = 0, 1, 2, 3, 4, 5


class Slot(_Words):
    """One incarnation of one child."""

    # Written by the parent
    generation = _Word(0)
    seat = _Word(1)
    kind = _Word(2)
    pid = _Word(3)
    state = _Word(4)
    started_at = _Word(5)
    died_at = _Word(6)
    exit_code = _Word(7)  # as multiprocessing has it: minus the signal
    peak_rss = _Word(8)  # bytes
    killed = _Word(9)
    killed_order_at = _Word(10)
    oom_kills = _Word(11)  # of the whole cgroup, meanwhile
    # Written by the child
    executor_id = _Word(16)
    nonce = _Word(17)
    stamp = _Word(18)  # its last successful tick
    done = _Word(19)
    busy = _Word(20)
    phase = _Word(21)
    is_fenced = _Word(22)
    wants_recycling = _Word(23)
    rss = _Word(24)
    order_at = _Word(25)
    order_header = _Word(26)
    place_header = _Word(27)
    is_unserved = _Word(28)
    rests_every = _Word(29)  # nanoseconds between its calls while it has nothing to do; 0: it is awake
    # Written by the warden: the generation it means
    buried = _Word(40)
    declared_dead = _Word(41)
    renewed_at = _Word(42)

    def __init__(self, number: int, memory: mmap.mmap) -> None:
        self.number = number
        start = (number + 1) * _SLOT_BYTES
        view = memoryview(memory)
        self.words = view[start : start + _WORD_BYTES].cast("q")
        self._order = view[start + _WORD_BYTES : start + _WORD_BYTES + _ORDER_BYTES]
        self._place = view[start + _WORD_BYTES + _ORDER_BYTES : start + _SLOT_BYTES]

    def clear(self) -> None:
        """For the next incarnation; only while nobody writes here."""
        for index in range(_WORDS):
            self.words[index] = 0

    def release(self) -> None:
        for view in (self.words, self._order, self._place):
            view.release()

    # -- texts: written by the child -----------------------------------------------------------------

    def write_order(self, order: dict[str, Any] | None, at: int = 0) -> None:
        """The instant comes last, and goes first: while it stands, the text is whole."""
        self.order_at = 0
        if order is not None:
            self.order_header = 0
            self.order_header = _write(self._order, order)
            self.order_at = at

    def read_order(self) -> dict[str, Any] | None:
        return _read(self._order, lambda: self.order_header)

    def write_place(self, place: dict[str, Any]) -> None:
        self.place_header = 0
        self.place_header = _write(self._place, place)

    def read_place(self) -> dict[str, Any] | None:
        return _read(self._place, lambda: self.place_header)


class _Head(_Words):
    # Written by the parent
    parent_pid = _Word(0)
    parent_stamp = _Word(1)
    looks_at = _Word(2)  # when the parent looks next, if nobody rings
    is_draining = _Word(3)
    is_fast = _Word(4)  # everything is handed over at once
    is_over = _Word(5)  # the warden may go
    # Written by the warden
    warden_stamp = _Word(16)
    has_suspects_at = _Word(17)  # when it last saw some
    suspects_seen_at = _Word(18)  # when it last looked

    def __init__(self, memory: mmap.mmap) -> None:
        self.words = memoryview(memory)[:_WORD_BYTES].cast("q")


class Board:
    """Made by the parent; inherited by forked children, and handed to spawned ones by its descriptor."""

    def __init__(self, slots: int, *, descriptor: int | None = None) -> None:
        size = (slots + 1) * _SLOT_BYTES
        if descriptor is None:
            descriptor = _memory_file()
            os.ftruncate(descriptor, size)
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, size)
        self.head = _Head(self._memory)
        self.slots = [Slot(number, self._memory) for number in range(slots)]

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (len(self.slots), DupFd(self._descriptor))

    def alive(self) -> Iterator[Slot]:
        return (slot for slot in self.slots if slot.state == State.ALIVE)

    def executors(self) -> Iterator[Slot]:
        return (slot for slot in self.alive() if slot.kind != Kind.WARDEN)

    def unburied(self) -> Iterator[Slot]:
        """The dead whose work may still have to be handed over."""
        return (
            slot
            for slot in self.slots
            if slot.state == State.DEAD and slot.executor_id and slot.buried != slot.generation
        )

    def close(self) -> None:
        self.head.words.release()
        for slot in self.slots:
            slot.release()
        self._memory.close()
        os.close(self._descriptor)


def _attach(slots: int, descriptor: Any) -> Board:
    return Board(slots, descriptor=descriptor.detach())


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pyengine-board")
    file, path = tempfile.mkstemp(prefix="pyengine-board-")
    os.unlink(path)
    return file


def _write(region: memoryview[int], value: dict[str, Any]) -> int:
    """Returns the header that makes it valid: length and checksum."""
    data = json.dumps(value).encode()
    if len(data) > len(region):
        return 0  # nobody knows of it then; no id that Postgres can index is so long
    region[: len(data)] = data
    return (len(data) << 32) | zlib.crc32(data)


def _read(region: memoryview[int], header: Any) -> dict[str, Any] | None:
    for _ in range(_READS):
        told = header()
        if not told:
            return None
        data = bytes(region[: told >> 32])
        if zlib.crc32(data) == told & 0xFFFFFFFF:
            value: dict[str, Any] = json.loads(data)
            return value
    return None
