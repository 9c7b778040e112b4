"""A way to the server that takes a while: a TCP forwarder that holds back what passes, for the same time each way.

Called as `python far_link.py LISTEN_ADDRESS SERVER_HOST SERVER_PORT SECONDS`. Says its port, ends with its stdin. What
arrives during the wait of something else has its own wait: a burst stays a burst.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import sys
import time
from collections import deque

from wire import say

CHUNK = 65536
MOST_HELD = 1 << 20  # of one direction: then its sender has to wait, as on any link
NOBODY = float("inf")


class Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.held: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.has_ended = False

    def read(self, delay: float) -> None:
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        self.has_ended = not data
        self.size += len(data)
        self.held.append((time.monotonic() + delay, data))

    def write(self) -> None:
        """What is due; nothing at all is the end."""
        while self.held and self.held[0][0] <= time.monotonic():
            due, data = self.held.popleft()
            if not data:
                self.sink.shutdown(socket.SHUT_WR)
                return
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            self.size -= sent
            if sent < len(data):
                self.held.appendleft((due, data[sent:]))
                return

    @property
    def is_over(self) -> bool:
        return self.has_ended and not self.held


def connect(host: str, port: int) -> socket.socket:
    if host.startswith("/"):
        made = socket.socket(socket.AF_UNIX)
        made.connect(f"{host}/.s.PGSQL.{port}")
        return made
    return _quick(socket.create_connection((host, port)))


def _quick(made: socket.socket) -> socket.socket:
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def accept(listener: socket.socket, server: tuple[str, int]) -> list[Way]:
    near, _ = listener.accept()
    try:
        far = connect(*server)
    except OSError:
        near.close()
        return []
    _quick(near)
    near.setblocking(False)
    far.setblocking(False)
    return [Way(near, far), Way(far, near)]


def serve(listener: socket.socket, server: tuple[str, int], delay: float) -> None:
    ways: list[Way] = []
    while True:
        now = time.monotonic()
        # One is due but its sink is full: it is waited for like any other.
        due = [way for way in ways if way.held and way.held[0][0] <= now]
        next_due = min((way.held[0][0] for way in ways if way.held and way not in due), default=NOBODY)
        readers = [way.source for way in ways if not way.has_ended and way.size < MOST_HELD]
        ready, free, _ = select.select(
            [listener, sys.stdin, *readers],
            [way.sink for way in due],
            [],
            None if next_due == NOBODY else next_due - now,
        )
        if sys.stdin in ready:
            return
        for way in list(ways):
            try:
                if way.source in ready:
                    way.read(delay)
                if way.sink in free or way.held:
                    way.write()
            except OSError:  # either side is gone: the other learns of it
                ways = [each for each in ways if each.source not in (way.source, way.sink)]
                way.source.close()
                way.sink.close()
        if listener in ready:
            ways += accept(listener, server)
        ways = _without_ended(ways)


def _without_ended(ways: list[Way]) -> list[Way]:
    """A connection is closed when both of its directions have ended."""
    over = {(way.source, way.sink) for way in ways if way.is_over}
    for source, sink in over:
        if (sink, source) in over:
            source.close()
            sink.close()
    return [way for way in ways if way.source.fileno() >= 0 and way.sink.fileno() >= 0]


def wake_on_time() -> None:
    """Timers of Linux may be 50 us late, a fifth of a delay."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK


if __name__ == "__main__":
    address, host, port, seconds = sys.argv[1:]
    wake_on_time()
    with socket.create_server((address, 0)) as listening:
        say(port=listening.getsockname()[1])
        serve(listening, (host, int(port)), float(seconds))
    os._exit(0)
