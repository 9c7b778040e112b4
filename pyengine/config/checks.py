"""Checks of single values: each returns the value as the engine uses it, or raises ValueError saying what is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyengine import logs
from pyengine.config import names

Check = Callable[[Any], Any]

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off", ""})


class Substituted(str):
    """Text that came out of the environment. It carries no type, so numbers and flags are read out of it."""

    variables: tuple[str, ...]

    def __new__(cls, text: str, variables: Sequence[str] = ()) -> Substituted:
        self = super().__new__(cls, text)
        self.variables = tuple(variables)
        return self


def anything(value: Any) -> Any:
    return value


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a non-empty string is needed")
    if "\x00" in value:
        raise ValueError("a string without NUL characters is needed")
    return str(value)


def secret(value: Any) -> str:
    # A password in YAML may be all digits, which YAML reads as a number.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)


def url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a database URL (a string) is needed")
    return value  # kept as it is: an empty one is warned about with the variable it came from


def app_name(value: Any) -> str:
    if not isinstance(value, str) or not names.is_valid_name(value):
        suggestion = f", for example {names.valid_name(value)!r}" if isinstance(value, str) else ""
        raise ValueError(f"{names.RULE} are needed{suggestion}")
    return str(value)


def schema_name(value: Any) -> str:
    name = text(value)
    if len(name.encode()) > 63 or name.startswith("pg_"):
        raise ValueError("a Postgres schema name is needed: at most 63 bytes, not beginning with pg_")
    return name


def flag(value: Any) -> bool:
    if isinstance(value, Substituted) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def integer(minimum: int, maximum: int | None = None) -> Check:
    wanted = f"a whole number of at least {minimum}" if maximum is None else f"a whole number {minimum} to {maximum}"

    def check(value: Any) -> int:
        if isinstance(value, Substituted):
            value = int(value) if value.strip().lstrip("+-").isdecimal() else value
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{wanted} is needed")
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError(f"{wanted} is needed")
        return value

    return check


def number(minimum: float) -> Check:
    wanted = f"a finite number of at least {minimum:g} is needed"

    def check(value: Any) -> float:
        if isinstance(value, Substituted):
            try:
                value = float(value)
            except ValueError:
                raise ValueError(wanted) from None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(wanted)
        if not math.isfinite(value) or value < minimum:
            raise ValueError(wanted)
        return float(value)

    return check


def strings(value: Any) -> tuple[str, ...]:
    """A list of strings; a single one stands for a list of one."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError("a list of strings is needed")
    return tuple(str(item) for item in items if item.strip())


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError("a mapping with string keys is needed")
    return dict(value)


def variables(value: Any) -> dict[str, str]:
    """Environment variables to set. Numbers and flags are common in YAML here and become text; null sets nothing."""
    checked = mapping(value)
    for name, item in checked.items():
        if not name or "=" in name or "\x00" in name or not isinstance(item, (str, int, float, type(None))):
            raise ValueError("a mapping of variable names to strings is needed")
    return {name: str(item) for name, item in checked.items() if item is not None}


def level(value: Any) -> int:
    try:
        return logs.parse_level(value)
    except (TypeError, ValueError):
        raise ValueError("one of DEBUG, INFO, WARNING, ERROR, CRITICAL, or a level number, is needed") from None


def choice(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)} is needed")
        return str(value)

    return check


def serializer(value: Any) -> Any:
    if not (callable(getattr(value, "serialize", None)) and callable(getattr(value, "deserialize", None))):
        raise ValueError("an object with the methods serialize and deserialize is needed")
    return value


def engine(value: Any) -> Any:
    if getattr(value, "url", None) is None:
        raise ValueError("a SQLAlchemy engine (an object with a url) is needed")
    return value
