"""One call of a function of the schema, as close to the wire as libpq goes: a statement that a connection prepares
once, parameters and rows in binary.

psycopg's cursors parse, adapt and decide anew with every call, which costs more than the call itself. What they know is
used here all the same: how connections wait, how errors are told apart, how rows are read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus, Format

from . import arrays
from .function import Function, wire_statement

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from .connection import Connection

# Rarer ones keep no plan in the server.
_PREPARED_FROM = 3

_bigint = struct.Struct(">q").pack
_integer = struct.Struct(">i").pack
_double = struct.Struct(">d").pack


def _pack_array(pack: Callable[[Any], arrays.Array]) -> Callable[[Any], bytes]:
    return lambda value: value.data if isinstance(value, arrays.Array) else pack(value).data


def _as_text(value: Any) -> bytes:
    dumped = Transformer().dump_sequence([value], [PyFormat.TEXT])[0]
    return b"" if dumped is None else bytes(dumped)


# By type: its oid, the format sent, how a value is packed.
_KINDS: dict[str, tuple[int, Format, Callable[[Any], bytes]]] = {
    "bigint": (20, Format.BINARY, _bigint),
    "integer": (23, Format.BINARY, _integer),
    "double precision": (701, Format.BINARY, _double),
    "boolean": (16, Format.BINARY, lambda value: b"\1" if value else b"\0"),
    "text": (25, Format.BINARY, str.encode),
    "bytea": (17, Format.BINARY, bytes),
    "interval": (1186, Format.BINARY, arrays.interval),
    "text[]": (1009, Format.BINARY, _pack_array(arrays.texts)),
    "bytea[]": (1001, Format.BINARY, _pack_array(arrays.payloads)),
    "bigint[]": (1016, Format.BINARY, _pack_array(arrays.bigints)),
    "integer[]": (1007, Format.BINARY, _pack_array(arrays.integers)),
    "double precision[]": (1022, Format.BINARY, _pack_array(arrays.doubles)),
    "interval[]": (1187, Format.BINARY, _pack_array(arrays.intervals)),
    "jsonb[]": (3807, Format.BINARY, _pack_array(arrays.jsonbs)),
}
# Any other type is sent as text and read by the server: rare, and never many.
_OTHER: tuple[int, Format, Callable[[Any], bytes]] = (0, Format.TEXT, _as_text)


class Plan:
    """How one connection calls one function."""

    __slots__ = ("encoders", "formats", "function", "knows_rows", "name", "oids", "reader", "text", "uses")

    def __init__(self, connection: Connection, function: Function[Any], schema: str, is_bounded: bool) -> None:
        self.function = function
        kinds = [_KINDS.get(kind, _OTHER) for _, kind in function.arguments]
        self.oids = [oid for oid, _, _ in kinds]
        self.formats = [form for _, form, _ in kinds]
        self.encoders = [encode for _, _, encode in kinds]
        self.text = wire_statement(function, schema, is_bounded)
        self.name = b""
        self.uses = 0
        self.reader = Transformer(connection)
        self.knows_rows = False

    def send(self, connection: Connection, values: Sequence[Any]) -> None:
        packed = [None if value is None else encode(value) for encode, value in zip(self.encoders, values, strict=True)]
        pgconn = connection.pgconn
        self.uses += 1
        if not self.name and self.uses >= _PREPARED_FROM and not connection.is_pooled:
            pgconn.send_prepare(self.function.name.encode(), self.text, self.oids)
            _result(connection)
            self.name = self.function.name.encode()
        if self.name:
            pgconn.send_query_prepared(self.name, packed, self.formats, Format.BINARY)
        else:
            pgconn.send_query_params(self.text, packed, self.oids, self.formats, Format.BINARY)

    def read(self, result: PGresult) -> list[tuple[Any, ...]]:
        reader = self.reader
        # A function's columns never change: their loaders are looked up once.
        reader.set_pgresult(result, set_loaders=not self.knows_rows, format=Format.BINARY)
        self.knows_rows = True
        return reader.load_rows(0, result.ntuples, tuple)


def call(
    connection: Connection,
    function: Function[Any],
    schema: str,
    values: Sequence[Any],
    *,
    is_bounded: bool = False,
    eagerly: bool = False,
) -> list[tuple[Any, ...]]:
    """The rows that a function returns. Raises psycopg.Error."""
    plan = connection.plans.get((function, is_bounded))
    if plan is None:
        plan = connection.plans[function, is_bounded] = Plan(connection, function, schema, is_bounded)
    plan.send(connection, values)
    return plan.read(_result(connection, eagerly=eagerly))


def _result(connection: Connection, *, eagerly: bool = False) -> PGresult:
    result = connection.answer(eagerly=eagerly)
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise errors.error_from_result(result, "utf-8")
    return result
