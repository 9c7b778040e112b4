"""`pyengine workflow …`: look at workflows, cancel and resume them."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from ..db import calls
from ..db.database import Session
from ..db.rows import WorkflowRow
from . import workflow_output as output
from .console import CommandError, print_details, print_json, print_table, say
from .database import session
from .options import JsonOption, SchemaOption, UrlOption, WorkflowArgument, parse_time

app = typer.Typer(help="Look at workflows, cancel and resume them.", no_args_is_help=True)
queue = typer.Typer(help="Look at enqueued workflows.", no_args_is_help=True)
app.add_typer(queue, name="queue")

STATUSES = ("PENDING", "ENQUEUED", "DELAYED", "SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
UNFINISHED = ["PENDING", "ENQUEUED", "DELAYED"]
_OLD_STATUSES = {"RETRIES_EXCEEDED": "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}

_Text = Optional[str]  # noqa: UP045  (typer reads it at run time)

Limit = Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many.")]
Offset = Annotated[int, typer.Option("--offset", "-o", min=0, help="Leave out the first ones.")]
Start = Annotated[_Text, typer.Option("--start-time", "-t", metavar="TIME", help="Created at or after (ISO 8601).")]
End = Annotated[_Text, typer.Option("--end-time", "-e", metavar="TIME", help="Created at or before (ISO 8601).")]
Status = Annotated[_Text, typer.Option("--status", "-S", help=f"One of {', '.join(STATUSES)}.")]
Name = Annotated[_Text, typer.Option("--name", "-n", help="Of this name.")]
Queue = Annotated[_Text, typer.Option("--queue-name", "-q", metavar="QUEUE", help="On this queue.")]
Descending = Annotated[bool, typer.Option("--sort-desc", "-d", help="The newest first.")]


@app.command("list")
def list_workflows(
    limit: Limit = 10,
    offset: Offset = 0,
    user: Annotated[_Text, typer.Option("--user", "-u", help="Run by this authenticated user.")] = None,
    queue_name: Queue = None,
    queues_only: Annotated[bool, typer.Option("--queues-only", help="Only unfinished ones on queues.")] = False,
    start: Start = None,
    end: End = None,
    status: Status = None,
    version: Annotated[_Text, typer.Option("--application-version", "-v", help="Of this version.")] = None,
    name: Name = None,
    application: Annotated[_Text, typer.Option("--application-name", "-a", help="Of this application.")] = None,
    descending: Descending = False,
    url: UrlOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
) -> None:
    """List workflows, the oldest first."""
    filters = {
        "users": _one(user),
        "queues": _one(queue_name),
        "queues_only": queues_only,
        "created_after": parse_time(start),
        "created_before": parse_time(end),
        "statuses": _statuses(status),
        "app_versions": _one(version),
        "names": _one(name),
        "applications": _one(application),
    }
    with session(url, schema) as connection:
        rows = _find(connection, limit=limit, offset=offset, sort_desc=descending, **filters)
    _show(rows, as_json)


@queue.command("list")
def list_queued(
    limit: Limit = 10,
    offset: Offset = 0,
    queue_name: Queue = None,
    start: Start = None,
    end: End = None,
    status: Status = None,
    name: Name = None,
    descending: Descending = False,
    url: UrlOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
) -> None:
    """List unfinished workflows on queues, the oldest first."""
    filters = {
        "queues": _one(queue_name),
        "queues_only": True,
        "created_after": parse_time(start),
        "created_before": parse_time(end),
        "statuses": _statuses(status) or UNFINISHED,
        "names": _one(name),
    }
    with session(url, schema) as connection:
        rows = _find(connection, limit=limit, offset=offset, sort_desc=descending, **filters)
    _show(rows, as_json)


@app.command("get")
def get(
    workflow_id: WorkflowArgument, url: UrlOption = None, schema: SchemaOption = None, as_json: JsonOption = False
) -> None:
    """Show everything about a workflow."""
    with session(url, schema) as connection:
        row = _get(connection, workflow_id)
    if as_json:
        print_json(output.workflow_as_json(row))
    else:
        print_details(output.workflow_details(row))


@app.command("steps")
def steps(
    workflow_id: WorkflowArgument, url: UrlOption = None, schema: SchemaOption = None, as_json: JsonOption = False
) -> None:
    """List the steps a workflow has recorded."""
    with session(url, schema) as connection:
        found = connection.all(calls.list_steps, workflow_id=workflow_id, load_output=True, limit=None, offset=None)
        if not found:
            _get(connection, workflow_id)  # says so if there is no such workflow
    if as_json:
        print_json([output.step_as_json(step) for step in found])
    else:
        print_table(output.STEP_COLUMNS, [output.step_row(step) for step in found])


Ids = Annotated[list[str], typer.Argument(metavar="WORKFLOW_ID...", help="Their ids.")]


@app.command("cancel")
def cancel(workflow_ids: Ids, url: UrlOption = None, schema: SchemaOption = None, as_json: JsonOption = False) -> None:
    """Cancel workflows: those that wait are taken off, those that run end at their next step."""
    words = {"cancelled": "cancelled", "finished": "had already finished: left as it is"}
    with session(url, schema) as connection:
        verdicts = {wanted: connection.one(calls.cancel_workflow, workflow_id=wanted) for wanted in workflow_ids}
    _report(verdicts, words, as_json)


@app.command("resume")
def resume(
    workflow_ids: Ids,
    queue_name: Annotated[_Text, typer.Option("--queue-name", "-q", metavar="QUEUE", help="Put it there.")] = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make cancelled or given-up workflows runnable again, from their last finished step."""
    words = {
        "resumed": "resumed: an executor of its version takes it up",
        "running": "is running: left as it is",
        "finished": "had finished: left as it is",
    }
    with session(url, schema) as connection:
        verdicts = {
            wanted: connection.one(calls.resume_workflow, workflow_id=wanted, queue=queue_name)
            for wanted in workflow_ids
        }
    _report(verdicts, words, as_json)


def _report(verdicts: dict[str, str], words: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json([{"workflow_id": found, "result": verdict} for found, verdict in verdicts.items()])
    else:
        for found, verdict in verdicts.items():
            if verdict != "unknown":
                say(f"{found} {words.get(verdict, verdict)}")
    unknown = [found for found, verdict in verdicts.items() if verdict == "unknown"]
    if unknown:
        raise CommandError(f"no workflow has the id {', '.join(unknown)}")


def _get(connection: Session, workflow_id: str) -> WorkflowRow:
    found = connection.all(calls.get_workflows, workflow_ids=[workflow_id])
    if not found:
        raise CommandError(f"no workflow has the id {workflow_id}")
    return found[0]


_NO_FILTER: dict[str, Any] = dict.fromkeys(
    name for name, _ in calls.list_workflows.arguments if name not in ("limit", "offset", "sort_desc")
)


def _find(connection: Session, **filters: Any) -> list[WorkflowRow]:
    return connection.all(
        calls.list_workflows, **{**_NO_FILTER, "queues_only": False, "load_input": True, "load_output": True, **filters}
    )


def _show(rows: list[WorkflowRow], as_json: bool) -> None:
    if as_json:
        print_json([output.workflow_as_json(row) for row in rows])
    else:
        print_table(output.WORKFLOW_COLUMNS, [output.workflow_row(row) for row in rows])


def _one(value: str | None) -> list[str] | None:
    return None if value is None else [value]


def _statuses(text: str | None) -> list[str] | None:
    if text is None:
        return None
    status = _OLD_STATUSES.get(text.upper(), text.upper())
    if status not in STATUSES:
        raise typer.BadParameter(f"{text!r} is no status; there are {', '.join(STATUSES)}")
    return [status]
