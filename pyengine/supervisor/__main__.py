"""`python -m pyengine.supervisor`: a fleet that another program starts and owns; see pyengine/runtime/fleet.py."""

from __future__ import annotations

import json
import os
import sys


def main() -> int:
    owner = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # what the program would read from a terminal is not ours
    os.close(null)
    told = b""
    while not told.endswith(b"\n"):
        received = os.read(owner, 65536)
        if not received:
            return 0  # gone before it said what it wants
        told += received
    wanted = json.loads(told)
    sys.path[:] = wanted["path"]

    from .. import logs
    from ..errors import DBOSInitializationError
    from .parent import run
    from .pipes import Reader
    from .spec import WorkerSpec

    logs.configure()
    try:
        return run(WorkerSpec.from_plain(wanted["spec"]), owner=Reader(owner))
    except DBOSInitializationError as error:
        logs.logger.error("%s", error.message)
        return 1


if __name__ == "__main__":
    sys.exit(main())
