"""Another name for pyengine, for programs that import `dbos`."""

from __future__ import annotations

try:
    from pyengine import *  # noqa: F403
    from pyengine import DBOS as DBOS
    from pyengine import __all__, __version__
except ImportError as problem:
    # The public index has another package of the name pyengine; pip takes that one when it is left to look for it.
    raise ImportError(
        "dbos needs this project's pyengine, and what is installed is not it. "
        "Install both from a checkout: pip install . ./compat/dbos"
    ) from problem

from . import error

__all__ = [*__all__, "__version__", "error"]
