"""`pyengine worker`: a fleet of executor processes of one program."""

from __future__ import annotations

import sys
from typing import Annotated, Optional

import typer

from ..supervisor.sizing import default_size
from ..supervisor.spec import DEFAULT_GRACE_SECONDS, START_METHODS, WorkerSpec
from .console import CommandError, tell
from .health import HEALTH_VARIABLE, checked_address
from .options import UrlOption

_MAX_PROCESSES = 512


def worker(
    module: Annotated[
        str,
        typer.Argument(
            metavar="MODULE[:ATTR]",
            help="The module that declares the workflows, or its file. A function ATTR is called to declare them.",
        ),
    ],
    processes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--processes", "-n", min=1, max=_MAX_PROCESSES, help="How many executors. Default: as many as fit here."
        ),
    ] = None,
    queues: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--queues", metavar="A,B", help="Only these queues (and the internal one). Default: all."),
    ] = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", metavar="APP", help="The application's name. Default: as the program configures it."),
    ] = None,
    url: UrlOption = None,
    grace: Annotated[
        float, typer.Option("--grace", min=0.0, metavar="SECONDS", help="How long running steps may take on SIGTERM.")
    ] = DEFAULT_GRACE_SECONDS,
    max_tasks: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--max-tasks", min=1, metavar="N", help="Replace a process after N workflows."),
    ] = None,
    max_rss: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--max-rss", min=1, metavar="MB", help="Replace a process that uses more memory than this."),
    ] = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="Without a configured database take the embedded Postgres of this folder.")
    ] = False,
    health: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--health",
            envvar=HEALTH_VARIABLE,
            metavar="HOST:PORT",
            callback=checked_address,
            help="Answer probes: /live and /ready.",
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: start again when a source file below here changes.")
    ] = False,
    start_method: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--start-method", metavar="fork|spawn", help="How processes start. Default: fork where safe."),
    ] = None,
) -> None:
    """Run workflows in several processes that are watched and replaced.

    SIGTERM or Ctrl-C: nothing more is claimed, running steps end, the rest is handed over. A second one is fast.
    """
    if sys.platform == "win32":
        raise CommandError("`worker` needs a system with POSIX signals")
    if start_method is not None and start_method not in START_METHODS:
        raise typer.BadParameter(f"{start_method!r} is neither of {', '.join(START_METHODS)}")
    if processes is None:
        size = default_size()
        processes = size.processes
        tell(f"{processes} process(es), because of {size.reason}")
    spec = WorkerSpec(
        targets=(module,),
        processes=processes,
        queues=None if queues is None else _names(queues),
        name=name,
        database_url=url,
        is_dev=dev,
        grace_seconds=grace,
        max_tasks=max_tasks,
        max_rss_mb=max_rss,
        start_method=start_method,
        health=health,
    )
    from .. import logs
    from ..supervisor import parent  # what they import does not exist on Windows
    from ..supervisor import reload as reloader

    logs.configure()
    raise typer.Exit(reloader.run(spec) if reload else parent.run(spec))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
