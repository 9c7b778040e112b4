"""`pyengine start`: runs the program the way dbos-config.yaml says."""

from __future__ import annotations

import typer

from ..config import resolve
from .commands import environment
from .console import CommandError, program_name, tell
from .process_group import run_command


def start() -> None:
    """Run the start commands of dbos-config.yaml, found from here upwards, in its folder; returns their exit code.

    Ctrl-C ends them within a second. SIGTERM is forwarded and waited for; a second signal is fast.
    """
    config = resolve(announce=False)  # the program resolves it again, and says what there is to say
    if config.config_file is None:
        raise CommandError(f"there is no dbos-config.yaml here or above; `{program_name()} init --config` writes one")
    if not config.start_commands:
        raise CommandError(f"{config.config_file} has no start command: list at least one under runtimeConfig.start")
    tell(f"Executing start commands from {config.config_file}")
    for command in config.start_commands:
        tell(f"Executing: {command}")
        status = run_command(command, config.config_file.parent, environment())
        if status:
            raise typer.Exit(status)
