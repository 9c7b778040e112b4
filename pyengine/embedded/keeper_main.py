"""Starts the keeper: `python -I -S keeper_main.py FOLDER REPORT_FD PACKAGE_FOLDER...`.

Run by path, not with -m: the keeper needs the standard library and five files of this folder, and must stay small and
start at once. So the packages above it are only named here, not imported: the engine, its dependencies and the user's
program stay out of this process.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path


def main() -> int:
    # Detached twice: a session of its own, and no child of the program, which would otherwise have to reap it.
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    here = Path(__file__).resolve().parent
    for name, location in (("pyengine", here.parent), ("pyengine.embedded", here)):
        package = types.ModuleType(name)
        package.__path__ = [str(location)]
        sys.modules[name] = package
    from pyengine.embedded import keeper

    folder, report, *packages = sys.argv[1:]
    return keeper.run(Path(folder), [Path(each) for each in packages], int(report))


if __name__ == "__main__":
    sys.exit(main())
