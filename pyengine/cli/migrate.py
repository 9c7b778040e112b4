"""`pyengine migrate` and `pyengine reset`: the schema, in and out."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any, Optional

import psycopg
import typer

from .. import schema as installer
from ..config import Config
from ..runtime.database_home import OpenedDatabase
from .commands import environment
from .console import CommandError, ask_yes_or_no, is_interactive, print_json, say, tell
from .database import configuration, is_missing, opened
from .exit_codes import ExitCode
from .options import JsonOption, SchemaOption, UrlOption, YesOption

_Role = Optional[str]  # noqa: UP045  (typer reads it at run time)


def migrate(
    url: UrlOption = None,
    schema: SchemaOption = None,
    print_sql: Annotated[
        bool, typer.Option("--print", help="Print the SQL for psql instead of running it; needs no database.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 4 when a migration is due.")
    ] = False,
    roles: Annotated[bool, typer.Option("--roles", help="Also make the roles and grant them their rights.")] = False,
    owner: Annotated[_Role, typer.Option("--owner-role", metavar="NAME", help="Implies --roles.")] = None,
    executor: Annotated[
        _Role, typer.Option("--executor-role", "--app-role", "-r", metavar="NAME", help="Implies --roles.")
    ] = None,
    client: Annotated[_Role, typer.Option("--client-role", metavar="NAME", help="Implies --roles.")] = None,
    reader: Annotated[_Role, typer.Option("--reader-role", metavar="NAME", help="Implies --roles.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Install or upgrade the schema, then run the commands under `database.migrate` of dbos-config.yaml."""
    config = configuration(url, schema)
    if print_sql and check:
        raise typer.BadParameter("--print and --check exclude each other")
    if print_sql:
        typer.echo(installer.render(config.schema), nl=False)
        return
    names = {"owner": owner, "executor": executor, "client": client, "reader": reader}
    given = {kind: name for kind, name in names.items() if name is not None}
    with opened(config) as database:
        tell(f"Database: {database.description}, schema {config.schema}")
        if check:
            _check(database, config, as_json)
            return
        lines = ["created the database"] if installer.ensure_database(database.url) else []
        report = installer.install(database.url, config.schema)
        lines += report.lines()
        if roles or given:
            lines += _make_roles(database.url, config, given)
    if as_json:
        print_json({"schema": report.schema, "version": report.version, "changed": report.changed, "done": lines})
    else:
        for line in lines:
            say(line)
    _run_commands(config, as_json)


def _check(database: OpenedDatabase, config: Config, as_json: bool) -> None:
    try:
        report = installer.check(database.url, config.schema)
    except psycopg.OperationalError as error:
        if not is_missing(error, database):
            raise
        state = {"schema": config.schema, "state": "absent", "pending": ["the database is to be created"]}
        print_json(state) if as_json else say("the database is to be created")
        raise typer.Exit(int(ExitCode.PENDING)) from None
    verdict = report.verdict
    if as_json:
        print_json(
            {
                "schema": verdict.schema,
                "state": verdict.state,
                "version": verdict.schema_version,
                "oldest_protocol": verdict.oldest_protocol,
                "pending": list(report.pending),
                "warnings": list(report.warnings),
                "may_migrate": report.may_migrate,
            }
        )
    else:
        for line in report.lines():
            say(line)
    if verdict.state == "unserved":
        raise typer.Exit(int(ExitCode.NOT_SERVED))
    if not report.current:
        raise typer.Exit(int(ExitCode.PENDING))


def _make_roles(url: str, config: Config, names: dict[str, Any]) -> list[str]:
    try:
        return installer.make_roles(url, config.schema, **names)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


def _run_commands(config: Config, as_json: bool) -> None:
    folder = config.config_file.parent if config.config_file else None
    for command in config.migrate_commands:
        tell(f"Executing: {command}")
        # With --json stdout is this command's own.
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment(), stdout=sys.stderr.fileno() if as_json else None
        )
        if done.returncode:
            raise CommandError(f"the migration command {command!r} failed (exit code {done.returncode})")


def reset(
    url: UrlOption = None, schema: SchemaOption = None, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Delete the engine's state for good: the database if the engine created it, else only its own schema."""
    config = configuration(url, schema)
    with opened(config) as database:
        what = f"every workflow in schema {config.schema} of {database.description}"
        if not yes and not is_interactive():
            raise CommandError(f"this deletes {what}; say --yes if that is what you want")
        if not yes and not ask_yes_or_no(f"Delete {what}?"):
            raise CommandError("nothing was deleted")
        lines = installer.reset(database.url, config.schema, yes=True)
    if as_json:
        print_json({"schema": config.schema, "done": lines})
    else:
        for line in lines:
            say(line)
