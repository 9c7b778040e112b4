"""Importing the user's program in a child, and naming what it should not have opened meanwhile."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import DBOSInitializationError
from ..logs import logger
from ..runtime import supervision

_MAIN = "__mp_main__"


def load(target: str, *, tells: bool) -> None:
    """Import "module", "module:attribute" or "path.py[:attribute]". `tells`: warn of threads and connections.

    A function that is named is called without arguments, to make what the module itself does not; anything else that
    is named has only to be there.
    """
    name, _, attribute = target.partition(":")
    before = _Open.now() if tells else None
    supervision.importing = name
    try:
        module = _import(name)
        if attribute:
            _use(module, name, attribute)
    finally:
        supervision.importing = None
    if before is not None:
        opened = before.opened_since()
        if opened:
            logger.warning(
                "Importing %s opened %s. Open such things in steps or in the function that you name as %s:function, "
                'or under `if __name__ == "__main__"`: each executor process imports the module for itself',
                name,
                ", ".join(opened),
                name,
            )


def _import(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    if not (name.endswith(".py") or os.sep in name):
        return _import_module(name)
    path = Path(name).resolve()
    if not path.is_file():
        raise DBOSInitializationError(f"there is no file {path}")
    # What is pickled as __main__'s in the program itself must be found here.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(_MAIN, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MAIN] = sys.modules["__main__"] = module
    spec.loader.exec_module(module)
    for value in vars(module).values():
        _name_as_main(value)
    return module


def _name_as_main(value: Any) -> None:
    """A class of this file bears the name in stored values that it has in the program itself, which is to read them."""
    if isinstance(value, type) and value.__module__ == _MAIN:
        value.__module__ = "__main__"
        for inner in vars(value).values():
            _name_as_main(inner)


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Not if it is something that the module itself imports that is missing.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise DBOSInitializationError(
                f"there is no module {name!r} in {Path.cwd()} or on the path: give a module, as in `pyengine worker "
                "main`, or a file, as in `pyengine worker main.py`"
            ) from None
        raise


def _use(module: ModuleType, name: str, attribute: str) -> None:
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise DBOSInitializationError(f"{name} has no attribute {attribute!r}") from None
    if inspect.isfunction(found):
        found()


class _Open:
    """Threads and sockets of this process at one moment."""

    def __init__(self, threads: set[threading.Thread], sockets: dict[int, int]) -> None:
        self._threads = threads
        self._sockets = sockets

    @classmethod
    def now(cls) -> _Open:
        return cls(set(threading.enumerate()), _sockets())

    def opened_since(self) -> list[str]:
        now = _Open.now()
        threads = [f"a thread ({thread.name})" for thread in now._threads - self._threads]
        fresh = [number for number, inode in now._sockets.items() if self._sockets.get(number) != inode]
        peers = [peer for number in fresh if (peer := _peer(number)) is not None]
        return sorted(threads) + [f"a connection to {peer}" for peer in peers]


def _sockets() -> dict[int, int]:
    """Descriptors of sockets, each with what tells it from another that gets its number later."""
    found = {}
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            numbers = [int(entry) for entry in os.listdir(folder)]
        except OSError:
            continue
        for number in numbers:
            try:
                status = os.fstat(number)
            except OSError:
                continue
            if (status.st_mode & 0o170000) == 0o140000:
                found[number] = status.st_ino
        break
    return found


def _peer(number: int) -> str | None:
    """Whom it is connected to; None for one that is not, such as the two ends that an event loop holds."""
    with socket.socket(fileno=os.dup(number)) as copy:
        try:
            address = copy.getpeername()
        except OSError:
            return None
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    text = address.decode(errors="replace") if isinstance(address, bytes) else str(address)
    return text or None
