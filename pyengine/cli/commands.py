"""Commands out of dbos-config.yaml: the environment they get."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment with this interpreter's folder first on PATH: its `fastapi` and `python` are meant, also where
    the virtual environment is not activated."""
    variables = dict(os.environ if base is None else base)
    folder = os.path.dirname(os.path.abspath(sys.executable))  # the link in the virtual environment, not what it is to
    path = variables.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != folder:
        variables["PATH"] = folder + os.pathsep + path
    return variables
