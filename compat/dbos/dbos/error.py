"""The exceptions, under the name that programs import them from: `dbos.error`."""

from __future__ import annotations

from pyengine import errors as _errors

__all__ = sorted(
    name
    for name, value in vars(_errors).items()
    if isinstance(value, type) and issubclass(value, BaseException) and name.startswith(("DBOS", "MaxRecovery"))
)
globals().update({name: getattr(_errors, name) for name in __all__})
