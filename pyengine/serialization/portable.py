"""Serializers users name or write themselves, and the JSON that programs in other languages read."""

from __future__ import annotations

import base64
import json
import pickle
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from . import pickling


@runtime_checkable
class Serializer(Protocol):
    """A way to store values, chosen with the configuration key `serializer`.

    `name` is stored beside each value, so that a reader knows what it takes to read it.
    """

    def serialize(self, data: Any) -> str: ...

    def deserialize(self, serialized_data: str) -> Any: ...

    def name(self) -> str:
        return type(self).__name__


class WorkflowSerializationFormat(str, Enum):
    """How the payloads of one workflow are stored."""

    DEFAULT = "default"
    """As the configuration says."""
    NATIVE = "native"
    """Python values exactly as they are."""
    PORTABLE = "portable"
    """JSON that every language reads."""


class DefaultSerializer(Serializer):
    """Pickle as base64 text, as earlier engines stored it."""

    def serialize(self, data: Any) -> str:
        return base64.b64encode(pickling.encode(data)).decode("ascii")

    def deserialize(self, serialized_data: str) -> Any:
        return pickle.loads(base64.b64decode(serialized_data))

    def name(self) -> str:
        return "py_pickle"


class DBOSPortableJSONSerializer(Serializer):
    """JSON for readers in any language. It keeps the meaning of values, not always their Python type.

    Datetimes become RFC 3339 text in UTC (a naive one counts as UTC), dates ISO text, decimals text, tuples and sets
    lists. Anything else that JSON lacks is a TypeError.
    """

    def serialize(self, data: Any) -> str:
        return json.dumps(_portable(data, "value"), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "portable_json"


class PortableWorkflowError(Exception):
    """An error as it travels between languages."""

    def __init__(self, message: str, name: str = "Error", code: Any = None, data: Any = None) -> None:
        super().__init__(message, name, code, data)
        self.message = message
        self.name = name
        self.code = code
        self.data = data

    def __str__(self) -> str:
        return self.message


def error_to_portable(exc: BaseException) -> dict[str, Any]:
    """`exc` as every language can read it; `data` only where it is portable itself."""
    if isinstance(exc, PortableWorkflowError):
        fields: dict[str, Any] = {"name": exc.name, "message": exc.message, "code": exc.code, "data": exc.data}
    else:
        code = getattr(exc, "dbos_error_code", None) or getattr(exc, "code", None)
        fields = {"name": type(exc).__name__, "message": str(getattr(exc, "message", None) or exc), "code": code}
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        try:
            if value is not None:
                kept[key] = _portable(value, key)
        except TypeError:
            continue
    return kept


def error_from_portable(fields: Any) -> PortableWorkflowError:
    if not isinstance(fields, dict):
        return PortableWorkflowError(str(fields))
    return PortableWorkflowError(
        str(fields.get("message", "")), str(fields.get("name", "Error")), fields.get("code"), fields.get("data")
    )


def _portable(value: Any, path: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_portable(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"Portable JSON has text keys only, but {path} has the key {key!r}")
        return {key: _portable(item, f"{path}[{key!r}]") for key, item in value.items()}
    raise TypeError(f"Portable JSON cannot hold {path}, a {pickling.type_name(value)}")
