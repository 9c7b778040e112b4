"""How a function of the schema is described and called: its name, typed arguments and the row it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, cast

R = TypeVar("R")

_EXECUTOR = (("executor_id", "bigint"), ("nonce", "bigint"))
# Takes an executor's id and nonce too, but another one's.
_ABOUT_OTHERS = frozenset({"mark_executor_dead"})


class Function(Generic[R]):
    """A mirror of one SQL function.

    `arguments` is "name type, name type" in the order of the SQL signature, names without their `p_`. `row` is a
    NamedTuple class whose fields are the returned columns; without it the function returns a scalar (or nothing).
    """

    def __init__(self, name: str, arguments: str, row: Callable[..., R] | None = None) -> None:
        self.name = name
        self.arguments: tuple[tuple[str, str], ...] = tuple(
            (argument.split(None, 1)[0], argument.split(None, 1)[1])
            for argument in map(str.strip, arguments.split(","))
            if argument
        )
        # Called by an executor as itself: right only on the server it registered on.
        self.is_executors_own = self.arguments[:2] == _EXECUTOR and name not in _ABOUT_OTHERS
        self.row = row
        self.columns: tuple[str, ...] = () if row is None else cast(Any, row)._fields
        self.build: Callable[[Sequence[Any]], R] = (lambda values: values[0]) if row is None else cast(Any, row)._make

    def __repr__(self) -> str:
        return f"Function({self.name})"

    def bind(self, arguments: dict[str, Any]) -> list[Any]:
        """The values in the order of the signature; a missing or unknown name is a programming error."""
        values = [arguments.pop(name) for name, _ in self.arguments]
        if arguments:
            raise TypeError(f"{self.name}() has no argument {', '.join(map(repr, arguments))}")
        return values


@cache
def statement(function: Function[Any], schema: str) -> bytes:
    """The SQL text of a call, for psycopg's cursors."""
    return _text(function, schema, ["%s"] * len(function.arguments))


@cache
def wire_statement(function: Function[Any], schema: str, is_bounded: bool) -> bytes:
    """The SQL text of a call, for libpq. `is_bounded`: the call waits 50 ms for a lock at most."""
    marks = [f"${number}" for number in range(1, len(function.arguments) + 1)]
    return (_bounded_text if is_bounded else _text)(function, schema, marks)


def _text(function: Function[Any], schema: str, marks: list[str]) -> bytes:
    arguments = _arguments(function, marks)
    call = f"{quote(schema)}.{function.name}({', '.join(arguments)})"
    return (f"select {', '.join(function.columns)} from {call}" if function.columns else f"select {call}").encode()


def _bounded_text(function: Function[Any], schema: str, marks: list[str]) -> bytes:
    """The limit holds for this transaction only, so that it works behind a pooler, and costs no round trip. An argument
    that depends on it makes Postgres set it first.
    """
    kind = function.arguments[0][1]
    marks = [f"case when t.is_set is not null then {marks[0]}::{kind} end", *marks[1:]]
    columns = ", ".join(f"r.{name}" for name in function.columns or ("answer",))
    return (
        f"select {columns} from (select set_config('lock_timeout', '50ms', true) offset 0) as t (is_set), "
        f"{quote(schema)}.{function.name}({', '.join(_arguments(function, marks))}) "
        f"as r{'' if function.columns else ' (answer)'}"
    ).encode()


def _arguments(function: Function[Any], marks: list[str]) -> list[str]:
    return [f"p_{name} => {mark}::{kind}" for (name, kind), mark in zip(function.arguments, marks, strict=True)]


def quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
