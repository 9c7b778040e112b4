"""Answers to probes: is the worker alive, is it ready. Told from the board alone, so a probe costs no query.

The parent opens the port, because a port that is taken is to be known before anything runs, and because probes that
come while a warden is being replaced then wait instead of being refused. The warden answers, on a thread: it may be
waiting for Postgres just then.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from multiprocess.reduction import DupFd

from ..runtime.rest import LEASE_RESTS
from .address import parse_address
from .board import Board, Kind, Phase, Slot

_SECOND = 1_000_000_000
# The parent looks once a second. One that has not for so long is stopped, or as good as.
_PARENT_PATIENCE = 15 * _SECOND
# The warden may be connecting (ten seconds for each address of a server) and handing over.
_WARDEN_PATIENCE = 90 * _SECOND
_DEFAULT_TTL = 15.0
_BACKLOG = 16
_CLIENT_PATIENCE_SECONDS = 5


class Door:
    """The port that probes come to; made by the parent, inherited by the warden."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener

    @classmethod
    def open(cls, address: str) -> Door:
        host, port = parse_address(address)
        family, _, _, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            # What is left of a former worker's connections must not keep this one from its port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return cls(listener)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (DupFd(self.listener.fileno()),)

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        self.listener.close()


def _reopened(descriptor: Any) -> Door:
    return Door(socket.socket(fileno=descriptor.detach()))


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe is told. `live`: starting the container again would not help. `ready`: work is being done here."""

    live: bool
    ready: bool
    problems: tuple[str, ...]
    executors: int
    running: int
    done: int


def judge(board: Board, processes: int) -> Report:
    now = time.monotonic_ns()
    head = board.head
    stuck = []
    if now - head.parent_stamp > _PARENT_PATIENCE:
        stuck.append("the supervisor has stopped")
    wardens = [slot for slot in board.alive() if slot.kind == Kind.WARDEN]
    if all(now - (slot.stamp or slot.started_at) > _WARDEN_PATIENCE for slot in wardens):
        stuck.append("the warden has stopped")
    executors = [slot for slot in board.executors() if slot.kind == Kind.EXECUTOR and slot.phase == Phase.READY]
    holding = [slot for slot in executors if _holds_lease(slot, now)]
    missing = list(stuck)
    if head.is_draining:
        missing.append("it is draining")
    elif not executors:
        missing.append("no executor process has launched")
    elif not holding:
        missing.append("no executor holds its lease: Postgres was not reached for as long")
    elif all(slot.is_unserved for slot in holding):
        missing.append("the schema serves only newer engines")
    elif len(holding) < processes and not missing:
        # Ready nevertheless: the others do the work meanwhile.
        return Report(
            True, True, (f"{len(holding)} of {processes} executor processes hold their lease",), *_sums(holding)
        )
    return Report(not stuck, not missing, tuple(missing), *_sums(holding))


def _sums(slots: list[Slot]) -> tuple[int, int, int]:
    return len(slots), sum(slot.busy for slot in slots), sum(slot.done for slot in slots)


def _holds_lease(slot: Slot, now: int) -> bool:
    """Renewed by the warden or by itself, and not declared dead since."""
    place = slot.read_place()
    ttl = _DEFAULT_TTL if place is None else float(place["lease_ttl_seconds"])
    # What rests has a longer one, and beats are as seldom.
    ttl = max(ttl, LEASE_RESTS * slot.rests_every / _SECOND)
    renewed = max(slot.renewed_at, slot.stamp)
    return not slot.is_fenced and slot.declared_dead != slot.generation and now - renewed < ttl * _SECOND


def serve(board: Board, processes: int, door: Door) -> None:
    """Answer from here on, on a thread of this process."""
    server = _Server(board, processes, door)
    threading.Thread(target=server.serve_forever, name="pyengine-health", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, board: Board, processes: int, door: Door) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = door.listener
        self._board = board
        self._processes = processes

    def report(self) -> Report:
        return judge(self._board, self._processes)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A probe that went away before its answer is nobody's trouble."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_PATIENCE_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path not in ("/live", "/ready"):
            self._answer(404, {"error": "there is /live and /ready"})
            return
        report = self.server.report()
        is_well = report.live if path == "/live" else report.ready
        self._answer(200 if is_well else 503, asdict(report))

    do_HEAD = do_GET

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A probe every few seconds is nothing to tell of."""
