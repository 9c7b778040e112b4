"""Pickle, with exceptions that survive the trip and errors that say what is wrong."""

from __future__ import annotations

import io
import pickle
import pickletools
from types import FunctionType
from typing import Any, Final

from ..errors import DBOSSerializationError, rebuild_exception

# The newest that every supported Python reads.
PROTOCOL: Final = 5

_MAX_PATH: Final = 12
_ADVICE: Final = (
    "Pass and return plain data (numbers, text, lists, dicts, dataclasses, pydantic models); open files, connections, "
    "locks and clients again inside the step that needs them, and define classes and functions at module level."
)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        # Called only for instances of user and library classes, never for plain data.
        if isinstance(obj, BaseException):
            return reduce_exception(obj)
        return NotImplemented


def reduce_exception(exc: BaseException) -> Any:
    """How to pickle `exc` so that loading does not call an `__init__` that may not take `args` again.

    NotImplemented where the class itself says how (`__reduce__` or `__reduce_ex__` written in Python), or where its
    constructor is a built-in one.
    """
    cls = type(exc)
    if isinstance(cls.__reduce__, FunctionType) or isinstance(cls.__reduce_ex__, FunctionType):
        return NotImplemented
    if not isinstance(cls.__init__, FunctionType):
        return NotImplemented
    reduced = exc.__reduce__()
    if not isinstance(reduced, tuple) or reduced[0] is not cls:
        return NotImplemented
    return (rebuild_exception, (cls, reduced[1]), *reduced[2:])


def dumps(value: Any) -> bytes:
    """Pickle `value`; raises whatever pickling it raises."""
    buffer = io.BytesIO()
    _Pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def encode(value: Any) -> bytes:
    try:
        return dumps(value)
    except Exception as error:
        raise unpicklable(value, error) from error


def decode(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:
        name = outermost_type(data)
        kind = f"a value of type {name}" if name else "a stored value"
        raise DBOSSerializationError(
            f"Cannot read {kind}: {type(error).__name__}: {error}. Its class must be importable here, under the name "
            "it had where the value was stored."
        ) from error


def can_pickle(value: Any) -> bool:
    try:
        dumps(value)
    except Exception:
        return False
    return True


def unpicklable(value: Any, error: Exception) -> DBOSSerializationError:
    """The error for a value that pickling refused: names the part at fault and what to do."""
    path, culprit = _find_culprit(value)
    where = f" (at value{path} of a {type_name(value)})" if path else ""
    return DBOSSerializationError(
        f"Cannot store a {type_name(culprit)}{where}: {type(error).__name__}: {error}. {_ADVICE}"
    )


def type_name(value: Any) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def outermost_type(data: bytes) -> str | None:
    """The first class or function a pickle refers to, read without running anything of it."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if opcode.name == "STACK_GLOBAL":
                return ".".join(texts[-2:])
            if isinstance(argument, str):
                texts.append(argument)
    except Exception:
        return None
    return None


def _find_culprit(value: Any) -> tuple[str, Any]:
    path = ""
    for _ in range(_MAX_PATH):
        for step, child in _children(value):
            if child is not value and not can_pickle(child):
                path += step
                value = child
                break
        else:
            break
    return path, value


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, type):
        return []
    return [(f".{name}", item) for name, item in getattr(value, "__dict__", {}).items()]
