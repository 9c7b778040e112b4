"""How a function of the schema is described and called: its name, typed arguments and the row it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast

R = TypeVar("R")

_EXECUTOR = (("executor_id", "bigint"), ("nonce", "bigint"))
# Takes an executor's id and nonce too, but another one's.
_ABOUT_OTHERS = frozenset({"mark_executor_dead"})

# What the pool's connections call under. Nobody who holds one waits for a lock longer than 50 ms. The others are for
# functions that write one row: pinning them itself costs such a function more than its fence (decision 31).
SETTINGS = {"lock_timeout": "50ms", "search_path": "pg_catalog, pg_temp", "enable_seqscan": "off"}


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
        names = [name for name, _ in self.arguments]
        # Of one name alone an itemgetter makes no tuple.
        self._pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] = (
            itemgetter(*names) if len(names) > 1 else lambda given: tuple(given[name] for name in names)
        )
        # Called by an executor as itself: right only on the server it registered on.
        self.is_executors_own = self.arguments[:2] == _EXECUTOR and name not in _ABOUT_OTHERS
        self.row = row
        self.columns: tuple[str, ...] = () if row is None else cast(Any, row)._fields
        self.build: Callable[[Sequence[Any]], R] = (lambda values: values[0]) if row is None else cast(Any, row)._make

    def __repr__(self) -> str:
        return f"Function({self.name})"

    def bind(self, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values in the order of the signature; a missing or unknown name is a programming error."""
        values = self._pick(arguments)
        if len(arguments) > len(values):
            unknown = arguments.keys() - {name for name, _ in self.arguments}
            raise TypeError(f"{self.name}() has no argument {', '.join(map(repr, sorted(unknown)))}")
        return values


@cache
def statement(function: Function[Any], schema: str) -> bytes:
    """The SQL text of a call, for psycopg's cursors."""
    return _text(function, schema, ["%s"] * len(function.arguments))


@cache
def wire_statement(function: Function[Any], schema: str, is_bounded: bool) -> bytes:
    """The SQL text of a call, for libpq. `is_bounded`: it brings SETTINGS itself."""
    marks = [f"${number}" for number in range(1, len(function.arguments) + 1)]
    return (_bounded_text if is_bounded else _text)(function, schema, marks)


def _text(function: Function[Any], schema: str, marks: list[str]) -> bytes:
    arguments = _arguments(function, marks)
    call = f"{quote(schema)}.{function.name}({', '.join(arguments)})"
    return (f"select {', '.join(function.columns)} from {call}" if function.columns else f"select {call}").encode()


def settings_text(is_local: bool) -> str:
    """`set_config` calls for SETTINGS: for the session, or for the transaction."""
    return ", ".join(f"set_config('{name}', '{value}', {str(is_local).lower()})" for name, value in SETTINGS.items())


def _bounded_text(function: Function[Any], schema: str, marks: list[str]) -> bytes:
    """The settings hold for this transaction only, so that they work behind a pooler, and cost no round trip. An
    argument that depends on them makes Postgres set them first.
    """
    kind = function.arguments[0][1]
    marks = [f"case when t.are_set is not null then {marks[0]}::{kind} end", *marks[1:]]
    columns = ", ".join(f"r.{name}" for name in function.columns or ("answer",))
    return (
        f"select {columns} from (select concat({settings_text(is_local=True)}) offset 0) as t (are_set), "
        f"{quote(schema)}.{function.name}({', '.join(_arguments(function, marks))}) "
        f"as r{'' if function.columns else ' (answer)'}"
    ).encode()


def _arguments(function: Function[Any], marks: list[str]) -> list[str]:
    return [f"p_{name} => {mark}::{kind}" for (name, kind), mark in zip(function.arguments, marks, strict=True)]


def quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
