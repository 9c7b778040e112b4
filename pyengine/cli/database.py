"""How commands reach the database: found as programs find it, every refusal one clear line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from .. import schema as installer
from ..config import Config, resolve
from ..db.database import Session
from ..runtime.database_home import OpenedDatabase, open_database
from .console import CommandError, program_name, tell
from .exit_codes import ExitCode


def configuration(url: str | None, schema: str | None) -> Config:
    """The configuration in force; only its warnings are worth a line in a command's output."""
    config = resolve({} if schema is None else {"dbos_system_schema": schema}, url_flag=url, announce=False)
    for note in config.notes:
        if note.level >= logging.WARNING:
            tell(f"Warning: {note.text}")
    return config


@contextmanager
def opened(config: Config) -> Iterator[OpenedDatabase]:
    """The database, running; errors of Postgres on the way become one line."""
    database = open_database(config)
    try:
        yield database
    except psycopg.Error as error:
        raise CommandError(_explain(error, database)) from error
    finally:
        database.release()


@contextmanager
def session(url: str | None, schema: str | None) -> Iterator[Session]:
    """A connection to a schema this engine can work with."""
    config = configuration(url, schema)
    with opened(config) as database:
        verdict = installer.judge(database.url, config.schema)
        if not verdict.served:
            code = ExitCode.NOT_SERVED if verdict.state == "unserved" else ExitCode.FAILURE
            raise CommandError(f"{verdict.message} (database: {database.description})", code)
        connection = Session.open(database.url, config.schema)
        try:
            yield connection
        finally:
            connection.close()


def is_missing(error: psycopg.Error, database: OpenedDatabase) -> bool:
    """Whether the application's database is not there yet: the one thing the embedded server, once it runs, can lack.
    Of another server's refusal nothing is known for sure, its message comes in its own language."""
    return database.is_embedded and isinstance(error, psycopg.OperationalError) and "does not exist" in str(error)


def _explain(error: psycopg.Error, database: OpenedDatabase) -> str:
    if is_missing(error, database):
        return f"nothing has run here yet ({database.description}): start your program, or `{program_name()} migrate`"
    return installer.explain(error, database.url)
