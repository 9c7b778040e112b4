"""Exceptions as payloads: they come back as themselves in another process, or as a clear stand-in.

Layout: a line of JSON, then optionally a pickle. The line is always readable (type, message, traceback) and holds the
whole exception wherever `args` and attributes are plain data; only otherwise is there a pickle.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from ..errors import DBOSRemoteError, rebuild_exception
from . import pickling
from .lossless import to_json

MAX_TEXT: Final = 64 * 1024
_MAX_DEPTH: Final = 16
_MAX_PARTS: Final = 10_000


class _NotPlain(Exception):
    """Something in an exception is not plain data."""


def encode(exc: BaseException, *, strict: bool) -> bytes:
    attempt = _encode_plain if strict else _encode_any
    head = _head(exc)
    try:
        return attempt(exc, head)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    try:
        # What keeps it from travelling is often one attribute (a response, a lock). The rest is worth keeping.
        copy, lost = _prune(exc, _is_plain if strict else pickling.can_pickle, _MAX_DEPTH)
        return attempt(copy, head | {"lost": lost})
    except Exception:
        return _line(head | {"reason": _cut(reason)})


def decode(data: bytes, *, strict: bool) -> BaseException:
    line, _, pickled = data.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    try:
        if "data" in head:
            exc = _build(head, strict)
        elif pickled and strict:
            raise _NotPlain("it is stored as a pickle, which strict mode does not read")
        elif pickled:
            exc = _load(pickled)
        else:
            return _stand_in(head, head.get("reason", ""))
    except Exception as error:
        return _stand_in(head, f"{type(error).__name__}: {error}")
    if head.get("lost"):
        _note(exc, f"Not stored with this exception: {', '.join(head['lost'])}")
    return exc


def _encode_any(exc: BaseException, head: dict[str, Any]) -> bytes:
    try:
        return _encode_plain(exc, head)
    except Exception:
        pickled = pickling.dumps(exc)
    if type(_load(pickled)) is not type(exc):
        raise _NotPlain("it comes back as another type")
    return _line(head) + b"\n" + pickled


def _encode_plain(exc: BaseException, head: dict[str, Any]) -> bytes:
    head = head | {"data": _data(exc, _Budget())}
    if type(_build(head, strict=True)) is not type(exc):
        raise _NotPlain("it comes back as another type")
    return _line(head)


def _head(exc: BaseException) -> dict[str, Any]:
    try:
        trace = "".join(traceback.format_exception(exc))
    except Exception:  # a __str__, __repr__ or __notes__ that fails
        trace = ""
    head = _identity(exc) | {"traceback": trace if len(trace) <= MAX_TEXT else "[cut]\n" + trace[-MAX_TEXT:]}
    if exc.__cause__ is not None:
        head["cause"] = f"{type(exc.__cause__).__qualname__}: {_text(exc.__cause__)}"
    return head


def _identity(exc: BaseException) -> dict[str, Any]:
    cls = type(exc)
    return {"type": cls.__qualname__, "module": cls.__module__, "message": _text(exc)}


def _text(exc: BaseException) -> str:
    try:
        return _cut(str(exc))
    except Exception as error:
        return f"<its str() raised {type(error).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " [cut]"


def _line(head: dict[str, Any]) -> bytes:
    # A lone surrogate becomes the escape that JSON has for it.
    return json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def _stand_in(head: dict[str, Any], reason: str) -> DBOSRemoteError:
    return DBOSRemoteError(
        str(head.get("type", "Exception")),
        str(head.get("message", "")),
        str(head.get("module", "")),
        str(head.get("traceback", "")),
        reason,
    )


def _note(exc: BaseException, text: str) -> None:
    notes = getattr(exc, "__notes__", None)
    exc.__notes__ = [*(notes if isinstance(notes, list) else []), text]  # type: ignore[attr-defined, unused-ignore]


def _load(pickled: bytes) -> BaseException:
    exc = pickle.loads(pickled)
    if not isinstance(exc, BaseException):
        raise TypeError(f"a {pickling.type_name(exc)} is no exception")
    return exc


# Exceptions as plain data


class _Budget:
    """Bounds the walk through what an exception holds: it may be deep, shared or circular."""

    def __init__(self) -> None:
        self.parts = _MAX_PARTS
        self.depth = _MAX_DEPTH

    def __enter__(self) -> None:
        self.parts -= 1
        self.depth -= 1
        if self.parts < 0 or self.depth < 0:
            raise _NotPlain("it is nested too deeply")

    def __exit__(self, *_: object) -> None:
        self.depth += 1


def _anatomy(exc: BaseException) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """`args`, attributes, and whether the class wants its constructor called with `args`."""
    cls = type(exc)
    reduced = pickling.reduce_exception(exc)
    called = reduced is NotImplemented
    if called:
        reduced = exc.__reduce_ex__(pickling.PROTOCOL)
    if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 3:
        raise _NotPlain("its class has a way of its own to be pickled")
    make, args, *rest = reduced
    state = rest[0] if rest and rest[0] else {}
    if make is rebuild_exception and args[0] is cls:
        args, called = args[1], False
    elif make is not cls:
        raise _NotPlain("its class has a way of its own to be pickled")
    if type(args) is not tuple or type(state) is not dict:
        raise _NotPlain("its class has a way of its own to be pickled")
    return args, state, called


def _data(exc: BaseException, budget: _Budget) -> dict[str, Any]:
    args, state, called = _anatomy(exc)
    data: dict[str, Any] = {"args": [_pack(item, budget) for item in args]}
    if state:
        data["state"] = {key: _pack(item, budget) for key, item in state.items()}
    if called:
        data["call"] = True
    return data


def _pack(value: Any, budget: _Budget) -> dict[str, Any]:
    with budget:
        if to_json(value) is not None:
            return {"v": value}
        if isinstance(value, BaseException):
            return {"e": _identity(value) | {"data": _data(value, budget)}}
        if type(value) is list:
            return {"l": [_pack(item, budget) for item in value]}
        if type(value) is tuple:
            return {"t": [_pack(item, budget) for item in value]}
        if type(value) is dict and all(type(key) is str for key in value):
            return {"d": {key: _pack(item, budget) for key, item in value.items()}}
    raise _NotPlain(f"it holds a {pickling.type_name(value)}, which is no plain data")


def _is_plain(value: Any) -> bool:
    try:
        packed = _pack(value, _Budget())
        _unpack(packed, strict=True)
    except Exception:
        return False
    return not isinstance(value, BaseException) or _resolve(packed["e"], strict=True) is type(value)


def _unpack(packed: dict[str, Any], strict: bool) -> Any:
    kind, value = next(iter(packed.items()))
    if kind == "v":
        return value
    if kind == "l":
        return [_unpack(item, strict) for item in value]
    if kind == "t":
        return tuple([_unpack(item, strict) for item in value])
    if kind == "d":
        return {key: _unpack(item, strict) for key, item in value.items()}
    try:
        return _build(value, strict)
    except Exception as error:
        return _stand_in(value, f"{type(error).__name__}: {error}")


def _build(head: dict[str, Any], strict: bool) -> BaseException:
    cls = _resolve(head, strict)
    data = head["data"]
    args = tuple([_unpack(item, strict) for item in data["args"]])
    exc = cls(*args) if data.get("call") else rebuild_exception(cls, args)
    state = {key: _unpack(item, strict) for key, item in data.get("state", {}).items()}
    if state:
        exc.__setstate__(state)
    return exc


def _resolve(head: dict[str, Any], strict: bool) -> type[BaseException]:
    """The class a head names. In strict mode stored data never causes an import."""
    module = head["module"]
    found: Any = sys.modules.get(module)
    if found is None:
        if strict:
            raise _NotPlain(f"module {module} is not imported here")
        found = importlib.import_module(module)
    for part in head["type"].split("."):
        # Strict: nothing that a module computes on access, which may well be an import.
        found = vars(found)[part] if strict else getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        raise TypeError(f"{module}.{head['type']} is no exception class here")
    return found


# What cannot travel is left out


def _prune(exc: BaseException, keepable: Callable[[Any], bool], depth: int) -> tuple[BaseException, list[str]]:
    """A copy of `exc` without what is not `keepable`, and the names of what that was."""
    args, state, called = _anatomy(exc)
    lost: list[str] = []
    kept_args = tuple([_keep(item, f"args[{index}]", lost, keepable, depth) for index, item in enumerate(args)])
    copy = type(exc)(*kept_args) if called else rebuild_exception(type(exc), kept_args)
    kept: dict[str, Any] = {}
    for name, item in state.items():
        before = len(lost)
        value = _keep(item, name, lost, keepable, depth)
        # An attribute that is missing is plainer than one of another type; args keep their number.
        if len(lost) == before or isinstance(value, (list, tuple, BaseException)):
            kept[name] = value
    if kept:
        copy.__setstate__(kept)
    return copy, lost


def _keep(value: Any, name: str, lost: list[str], keepable: Callable[[Any], bool], depth: int) -> Any:
    if keepable(value):
        return value
    lost.append(name)
    if depth > 0 and type(value) in (list, tuple):
        items = [_keep(item, f"{name}[{i}]", [], keepable, depth - 1) for i, item in enumerate(value)]
        return items if type(value) is list else tuple(items)
    if isinstance(value, BaseException):
        try:
            copy, _ = _prune(value, keepable, depth - 1)
            if depth > 0 and keepable(copy):
                return copy
        except Exception:
            pass
        return _stand_in(_identity(value), "it could not be stored")
    try:
        return str(value)
    except Exception:
        return f"<{pickling.type_name(value)}>"
