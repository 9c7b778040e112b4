"""The application version: which code a workflow began with, and so which processes may continue it.

A hash over the source of the registered workflows. Bodies of steps are left out on purpose: a replay takes finished
steps from their checkpoints, so fixing a step must not strand the workflows in flight.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import textwrap
import tokenize
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Any

from .._version import PROTOCOL

# Names that many pieces of code share: typed at a prompt, given with -c, made by exec. What is on record under such a
# name may be the source of another piece.
_NO_ONES_FILES = frozenset({"<string>", "<stdin>"})


def compute(functions: Iterable[Callable[..., Any]], app_name: str) -> str:
    """The same for the same workflows in every process, in whatever order they were imported."""
    digest = hashlib.sha256()
    for part in (f"protocol {PROTOCOL}", app_name, *sorted(map(_fingerprint, functions))):
        # The length keeps neighbours apart.
        data = part.encode("utf-8", "backslashreplace")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:32]


def _fingerprint(function: Callable[..., Any]) -> str:
    # The module is left out: a program is `__main__` when run and has its own name when a server imports it.
    function = _innermost(function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    if getattr(code, "co_filename", "") not in _NO_ONES_FILES:
        try:
            lines = textwrap.dedent(inspect.getsource(function)).splitlines()
            return f"{name}\nsource\n" + "\n".join(line.rstrip() for line in lines)
        except (OSError, TypeError, SyntaxError, tokenize.TokenError):
            pass  # shipped without sources
    return f"{name}\ncode\n" + (_describe_code(code) if isinstance(code, CodeType) else "")


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function somebody wrote, under decorators, partials and bindings."""
    while True:
        function = inspect.unwrap(function)
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, (staticmethod, classmethod)) or inspect.ismethod(function):
            function = function.__func__
        elif not inspect.isroutine(function) and not inspect.isclass(function):
            call = type(function).__call__
            return call if inspect.isfunction(call) else function
        else:
            return function


def _describe_code(code: CodeType) -> str:
    """What the code does, without where it stands: file names and line numbers differ between hosts."""
    constants = "\n".join(map(_describe_constant, code.co_consts))
    return f"{code.co_code.hex()}\n{code.co_names}\n{code.co_varnames}\n{code.co_freevars}\n{constants}"


def _describe_constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _describe_code(value)
    if isinstance(value, frozenset):  # hash randomisation orders sets of text differently in each process
        return f"frozenset({sorted(map(_describe_constant, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_describe_constant, value))})"
    return repr(value)
