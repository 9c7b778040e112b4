"""Arrays of parameters in Postgres' binary form, for calls that carry many rows.

psycopg dumps a list item by item through its adapters; here a column of a batch is packed in one go, which is a quarter
of the price.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_JSONB_VERSION = b"\x01"
_INTERVAL = struct.Struct(">qii")


class Array:
    """A packed array; its class tells Postgres the type."""

    oid: ClassVar[int]
    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class TextArray(Array):
    oid = 1009


class ByteaArray(Array):
    oid = 1001


class BigintArray(Array):
    oid = 1016


class IntegerArray(Array):
    oid = 1007


class DoubleArray(Array):
    oid = 1022


class IntervalArray(Array):
    oid = 1187


class JsonbArray(Array):
    oid = 3807


def texts(values: Sequence[str | None]) -> TextArray:
    return TextArray(_pack(25, [None if value is None else value.encode() for value in values]))


def payloads(values: Sequence[bytes | None]) -> ByteaArray:
    return ByteaArray(_pack(17, values))


def jsonbs(values: Sequence[str | None]) -> JsonbArray:
    """Of JSON texts."""
    return JsonbArray(_pack(3802, [None if value is None else _JSONB_VERSION + value.encode() for value in values]))


def interval(value: timedelta) -> bytes:
    """One interval, without days: those of Postgres follow the calendar of the session's time zone, where one may have
    23 hours.
    """
    return _INTERVAL.pack((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds, 0, 0)


def intervals(values: Sequence[timedelta | None]) -> IntervalArray:
    return IntervalArray(_pack(1186, [None if value is None else interval(value) for value in values]))


def bigints(values: Sequence[int | None]) -> BigintArray:
    return BigintArray(_fixed(20, "q", 8, values))


def integers(values: Sequence[int | None]) -> IntegerArray:
    return IntegerArray(_fixed(23, "i", 4, values))


def doubles(values: Sequence[float | None]) -> DoubleArray:
    return DoubleArray(_fixed(701, "d", 8, values))


def _pack(item_oid: int, values: Sequence[bytes | None]) -> bytes:
    parts = [_HEAD.pack(1, None in values, item_oid, len(values), 1)]
    length = _LENGTH.pack
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(length(len(value)))
            parts.append(value)
    return b"".join(parts)


def _fixed(item_oid: int, code: str, width: int, values: Sequence[int | float | None]) -> bytes:
    if None in values:
        item = struct.Struct(f">{code}").pack
        return _pack(item_oid, [None if value is None else item(value) for value in values])
    body = struct.pack(">" + f"i{code}" * len(values), *(part for value in values for part in (width, value)))
    return _HEAD.pack(1, 0, item_oid, len(values), 1) + body


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data


for _kind in (TextArray, ByteaArray, BigintArray, IntegerArray, DoubleArray, IntervalArray, JsonbArray):
    psycopg.adapters.register_dumper(_kind, type(f"{_kind.__name__}Dumper", (_ArrayDumper,), {"oid": _kind.oid}))
