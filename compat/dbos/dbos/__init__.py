"""Another name for pyengine, for programs that import `dbos`."""

from __future__ import annotations

import sys

try:
    from pyengine import *  # noqa: F403
    from pyengine import DBOS as DBOS
    from pyengine import __all__ as __all__
    from pyengine import __version__ as __version__
    from pyengine import error as error
except ImportError as problem:
    # The public index has another package of the name pyengine; pip takes that one when it is left to look for it.
    raise ImportError(
        "dbos needs this project's pyengine, and what is installed is not it. "
        "Install both from a checkout: pip install . ./compat/dbos"
    ) from problem

# The same module, so that an exception caught under either name is the same class.
sys.modules["dbos.error"] = error
