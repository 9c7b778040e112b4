"""Which values JSON brings back exactly as they were.

This runs for every payload, so it looks at whole containers with C-speed primitives instead of visiting each item.
"""

from __future__ import annotations

from json import JSONDecoder, JSONEncoder
from types import NoneType
from typing import Any, Final

# Deeper values go to pickle: both ends of the JSON library recurse, on stacks of unknown depth.
MAX_DEPTH: Final = 100

_MAX_COPIES: Final = 1_000_000

SCALARS: Final = frozenset({NoneType, bool, int, float, str})
_TYPES: Final = SCALARS | {list, dict}
_KEYS: Final = frozenset({str})

# Circularity is ruled out before encoding. Infinities and NaN raise ValueError: JSON has no such numbers.
_to_text = JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
_from_text = JSONDecoder().decode


def has_json_shape(value: Any) -> bool:
    """Whether `value` is made of exact JSON types only, each list and dict occurring once.

    Subclasses (an Enum that is an int, an OrderedDict) and tuples would come back as something else. A container
    reached twice would come back as two, and a shared one can blow up exponentially in text.
    """
    if type(value) in SCALARS:
        return True
    if type(value) not in _TYPES:
        return False
    seen = {id(value)}
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            if type(container) is dict:
                if not _KEYS.issuperset(map(type, container)):
                    return False
                children = container.values()
            else:
                children = container
            kinds = set(map(type, children))
            if not kinds <= SCALARS:
                if not kinds <= _TYPES:
                    return False
                below += [child for child in children if type(child) is dict or type(child) is list]
        if not below:
            return True
        before = len(seen)
        seen.update(map(id, below))
        if len(seen) != before + len(below):
            return False
        level = below
    return False


def to_json(value: Any) -> bytes | None:
    """`value` as compact UTF-8 JSON, or None where that would lose something."""
    return _text_of(value) if has_json_shape(value) else None


def call_to_json(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None:
    """As `to_json`, of a call's arguments. Scalars, which most arguments are, need no look at their shape."""
    call = {"args": list(args), "kwargs": kwargs}
    if SCALARS.issuperset(map(type, args)) and SCALARS.issuperset(map(type, kwargs.values())):
        return _text_of(call)
    return to_json(call)


def _text_of(value: Any) -> bytes | None:
    try:
        if type(value) is int:  # the encoder takes a slow path for bare numbers
            return str(value).encode()
        return _to_text(value).encode()
    except ValueError:  # a NaN, an infinity, a lone surrogate, or an int beyond the interpreter's digit limit
        return None


def unshared_json(value: Any, limit: int = _MAX_COPIES) -> bytes | None:
    """As `to_json`, but a container that occurs several times becomes several: for strict mode, which has no pickle."""
    text = to_json(value)
    if text is not None:
        return text
    try:
        return to_json(_unshared(value, MAX_DEPTH, [limit]))
    except _TooMuch:
        return None


class _TooMuch(Exception):
    pass


def _unshared(value: Any, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if depth < 0 or budget[0] < 0:  # a circle, or sharing on so many levels that the copy would explode
        raise _TooMuch
    if type(value) is list:
        return [_unshared(item, depth - 1, budget) for item in value]
    if type(value) is dict:
        return {key: _unshared(item, depth - 1, budget) for key, item in value.items()}
    return value


def from_json(data: bytes) -> Any:
    return _from_text(data.decode())
