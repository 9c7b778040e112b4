"""The exceptions under the module name that programs know: `from pyengine.error import DBOSException`."""

from __future__ import annotations

from .errors import *  # noqa: F403
