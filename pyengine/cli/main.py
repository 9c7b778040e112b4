"""The command `pyengine`."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import DBOSException, DBOSProtocolNotServedError
from . import doctor, health, init, migrate, start, version, worker, workflow
from .console import CommandError, fail, program_name
from .exit_codes import ExitCode


class Commands(TyperGroup):
    """Turns what commands raise into one line and an exit code: no command handles its own errors."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            fail(str(error))
            code = error.exit_code
        except DBOSProtocolNotServedError as error:
            fail(error.message)
            code = ExitCode.NOT_SERVED
        except DBOSException as error:
            fail(error.message)
            code = ExitCode.FAILURE
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        raise typer.Exit(int(code))


app = typer.Typer(
    cls=Commands,
    help="Durable workflows on Postgres.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.init)
app.command("start")(start.start)
app.command("worker")(worker.worker)
app.command("health")(health.health)
app.command("migrate")(migrate.migrate)
app.command("reset")(migrate.reset)
app.command("doctor")(doctor.doctor)
app.add_typer(workflow.app, name="workflow")
app.command("version")(version.version)


def main() -> None:
    app(prog_name=program_name())


if __name__ == "__main__":
    main()
