"""`pyengine doctor`: every row that breaks an invariant, work that nobody can run, and who holds vacuum back."""

from __future__ import annotations

import typer

from ..db import calls
from .console import print_json, print_table, say
from .database import session
from .exit_codes import ExitCode
from .options import JsonOption, SchemaOption, UrlOption


def doctor(url: UrlOption = None, schema: SchemaOption = None, as_json: JsonOption = False) -> None:
    """Look for broken invariants, unfinished work that no live executor can run, and who holds vacuum back. Changes
    nothing.
    """
    with session(url, schema) as connection:
        findings = connection.all(calls.doctor)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    elif findings:
        print_table(("invariant", "what", "problem", "what to do"), findings)
    else:
        say("healthy: no invariant is broken, and all unfinished work can be run")
    if findings:
        raise typer.Exit(int(ExitCode.UNHEALTHY))
