"""Changes of source files below a folder: told by watchfiles where that is installed, else found by looking."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.4
_SUFFIX = ".py"
_NAMES = {"dbos-config.yaml"}
_FOREIGN = {"__pycache__", "node_modules", "site-packages"}


def is_source(path: str | Path) -> bool:
    return str(path).endswith(_SUFFIX) or Path(path).name in _NAMES


def is_foreign(folder: Path) -> bool:
    """Holds nothing that the program's author edits: caches, environments, what others keep for themselves."""
    return folder.name.startswith(".") or folder.name in _FOREIGN or (folder / "pyvenv.cfg").exists()


def watch(folder: Path, tell: Callable[[list[str]], None]) -> str:
    """Call `tell` with what changed from now on, on a thread of its own; says by which means."""
    try:
        import watchfiles
    except ImportError:
        looked = Look(folder)
        loop, means = (lambda: _look(looked, tell)), f"looking every {_LOOK_SECONDS:g} s"
    else:
        changes = watchfiles.watch(folder, watch_filter=_wanted(folder), debounce=200, raise_interrupt=False)
        loop, means = (lambda: _follow(changes, tell)), "watchfiles"
    threading.Thread(target=loop, name="pyengine-changes", daemon=True).start()
    return means


def _wanted(folder: Path) -> Callable[[object, str], bool]:
    def wanted(change: object, path: str) -> bool:
        parents = (folder / part for part in Path(path).relative_to(folder).parents if part.name)
        return is_source(path) and not any(is_foreign(parent) for parent in parents)

    return wanted


def _follow(changes: Iterator[set[tuple[Any, str]]], tell: Callable[[list[str]], None]) -> None:
    for found in changes:
        tell(sorted({path for _, path in found}))


def _look(looked: Look, tell: Callable[[list[str]], None]) -> None:
    pause = threading.Event()
    while True:
        pause.wait(_LOOK_SECONDS)
        if found := looked.changed():
            tell(found)


class Look:
    """What the files were like at the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = dict(self._files())

    def changed(self) -> list[str]:
        now = dict(self._files())
        found = [path for path in now.keys() | self._known.keys() if now.get(path) != self._known.get(path)]
        self._known = now
        return sorted(found)

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for place, folders, files in os.walk(self._folder):
            here = Path(place)
            folders[:] = [name for name in folders if not is_foreign(here / name)]
            for name in files:
                if is_source(name):
                    try:
                        status = (here / name).stat()
                    except OSError:
                        continue  # gone since
                    yield str(here / name), (status.st_mtime_ns, status.st_size)
