"""A link between a program and its server that a test can cut, stop, and make lose what is on its way."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest


class _Pair:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        # The reply that comes next is lost: what was asked for has been done.
        self.loses_reply = False

    def cut(self) -> None:
        """Both ends see a reset: what was on the way is gone."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                end.close()


class Link:
    """A TCP proxy. Losses are counted in `lost`, by what was lost."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._is_refused = False
        self._wanted: list[tuple[bytes, str]] = []
        self._random: tuple[random.Random, float] | None = None
        self.lost: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    # -- what a test does with it ------------------------------------------------------------------

    def cut(self, *, refuse: bool = False) -> None:
        """Reset all connections. `refuse`: and accept no new ones until `mend()`."""
        self._is_refused = refuse
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()

    def mend(self) -> None:
        self._is_refused = False
        self._random = None
        self._flows.set()

    def turn_to(self, port: int) -> None:
        """New connections go to another server of the same host."""
        self._target = (self._target[0], port)

    def stop(self) -> None:
        """A black hole: connections stand, and nothing comes through until `mend()`."""
        self._flows.clear()

    def lose(self, what: bytes, part: str) -> None:
        """Lose the next 'request' that names `what`, or the 'reply' to it, with its connection."""
        with self._lock:
            self._wanted.append((what, part))

    def harass(self, seed: int, chance: float) -> None:
        """Lose each request and each reply with this chance, until `mend()`."""
        self._random = random.Random(seed), chance

    def close(self) -> None:
        self._listener.close()
        self._flows.set()
        self.cut(refuse=True)

    # -- how it works ------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self._is_refused:
                    raise OSError
                server = socket.create_connection(self._target, 10)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.add(pair)
            threading.Thread(target=self._pump, args=(pair, client, server, self._asks), daemon=True).start()
            threading.Thread(target=self._pump, args=(pair, server, client, self._answers), daemon=True).start()

    def _pump(
        self, pair: _Pair, source: socket.socket, sink: socket.socket, lets_through: Callable[[_Pair, bytes], bool]
    ) -> None:
        try:
            while data := source.recv(1 << 16):
                self._flows.wait()
                if not lets_through(pair, data):
                    break
                sink.sendall(data)
        except OSError:
            pass
        with self._lock:
            self._pairs.discard(pair)
        pair.cut()

    def _asks(self, pair: _Pair, data: bytes) -> bool:
        part = self._choose(data)
        if part == "request":
            return False
        pair.loses_reply = pair.loses_reply or part == "reply"
        return True

    def _answers(self, pair: _Pair, data: bytes) -> bool:
        return not pair.loses_reply

    def _choose(self, data: bytes) -> str | None:
        with self._lock:
            for wish in self._wanted:
                if wish[0] in data:
                    self._wanted.remove(wish)
                    self.lost.append(f"{wish[1]} of {wish[0].decode()}")
                    return wish[1]
            if self._random is not None:
                source, chance = self._random
                drawn = source.random()
                if drawn < 2 * chance:
                    part = "request" if drawn < chance else "reply"
                    self.lost.append(part)
                    return part
        return None

    def url(self, database_url: str) -> str:
        """The same database over this link."""
        parts = urlsplit(database_url)
        who = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{self.port}"))


@contextmanager
def link(server_url: str) -> Iterator[Link]:
    parts = urlsplit(server_url)
    made = Link(parts.hostname or "127.0.0.1", parts.port or 5432)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def new_link(server_url: str) -> Callable[[], AbstractContextManager[Link]]:
    return lambda: link(server_url)


@pytest.fixture
def own_link(server_url: str) -> Iterator[Link]:
    """A link of the test's own to the server of this run."""
    with link(server_url) as made:
        yield made


@pytest.fixture
def linked_url(own_link: Link, database_url: str) -> str:
    """The test's database over that link."""
    return own_link.url(database_url)
