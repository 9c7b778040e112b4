"""Options that several commands share, spelled once."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Optional

import typer

from ..schema import valid_schema


def _schema(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return valid_schema(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_time(text: str | None) -> datetime | None:
    """ISO 8601; without a zone it is UTC, as what the engine prints."""
    if text is None:
        return None
    try:
        # Python 3.10 does not know the Z.
        parsed = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time in ISO 8601, such as 2025-01-31T23:00:14Z") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


# typer reads these annotations at run time, on Python 3.10 too: Optional, not `| None`.
UrlOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--sys-db-url",
        "-s",
        "--database-url",
        "--db-url",
        "-D",
        metavar="URL",
        help="The database of the engine. Default: as programs find it (environment, dbos-config.yaml, embedded).",
    ),
]
SchemaOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--schema", metavar="NAME", callback=_schema, help="The schema of the engine. Default: pyengine."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
WorkflowArgument = Annotated[str, typer.Argument(metavar="WORKFLOW_ID", help="Its id.")]
