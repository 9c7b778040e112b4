"""Stored values for people who look on.

A pickle can run code when it is read, and the classes of the program are not here. So only plain values are read out of
one; anything else is named.
"""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

from ..serialization.pickling import outermost_type

# Types whose construction does nothing but hold data.
_PLAIN = {
    "builtins": {"set", "frozenset", "bytearray", "complex", "range", "slice"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID", "SafeUUID"},
    "collections": {"OrderedDict", "deque"},
    "pathlib": {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


def read(data: bytes | None) -> Any:
    """The value where it is plain data; else a text in angle brackets that says what is stored."""
    if data is None:
        return None
    tag, body = data[:1], data[1:]
    try:
        if tag == b"j":
            return json.loads(body)
        if tag == b"p":
            return _PlainUnpickler(io.BytesIO(body)).load()
        if tag == b"e":
            return read_error(data)
        if tag == b"c":
            return body.decode("utf-8", "replace").partition("\n")[2]
    except Exception:
        kind = outermost_type(body) if tag == b"p" else None
        return f"<{kind or 'a value'}, {len(body)} bytes>"
    return f"<unknown format, {len(body)} bytes>"


def read_error(data: bytes | None) -> str | None:
    """`Type: message` of a stored exception."""
    if data is None:
        return None
    if data[:1] != b"e":
        return str(read(data))
    head = json.loads(data[1:].partition(b"\n")[0])
    kind, message = head.get("type", "Exception"), head.get("message", "")
    return f"{kind}: {message}" if message else str(kind)
