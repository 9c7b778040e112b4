"""What commands print: results on stdout (tables, or JSON), everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .exit_codes import ExitCode

# Where no terminal says how wide it is, nobody wants ids cut in two.
_WIDTH_OF_A_FILE = 240


class CommandError(Exception):
    """A command could not do what was asked; the message is one line for the user."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def program_name() -> str:
    """How the user calls this program, for messages that name a command."""
    name = Path(sys.argv[0]).stem if sys.argv else ""
    return name if name == "dbos" else "pyengine"


def is_interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def say(text: str) -> None:
    """A line of a command's result for people."""
    typer.echo(printable(text))


def tell(text: str) -> None:
    """A line about what is going on."""
    typer.echo(printable(text), err=True)


def fail(text: str) -> None:
    typer.echo(f"Error: {printable(text)}", err=True)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    table = Table(title=None if title is None else Text(printable(title)), title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(printable("" if value is None else str(value))) for value in row))
    _console().print(table)


def print_details(pairs: Iterable[tuple[str, Any]]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            table.add_row(name, Text(printable(str(value), keep_lines=True)))
    _console().print(table)


def ask_yes_or_no(question: str) -> bool:
    return typer.confirm(question, default=False, err=True)


def printable(text: str, *, keep_lines: bool = False) -> str:
    """Stored text must not steer the terminal it is shown on."""
    return "".join(
        character
        if character.isprintable() or (keep_lines and character in "\n\t")
        else character.encode("unicode_escape").decode()
        for character in text
    )


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_A_FILE)
