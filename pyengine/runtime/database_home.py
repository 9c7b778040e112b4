"""Where a program's state lives: the configured database, or else an embedded one of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from .. import embedded, schema
from ..config import Config, urls
from ..errors import DBOSInitializationError
from ..schema import Prepared


@dataclass(frozen=True, slots=True)
class OpenedDatabase:
    """`description` says in one line which database it is and where. `release` lets an embedded server stop after
    its last user.
    """

    url: str
    description: str
    release: Callable[[], None]
    revive: Callable[[], None]
    is_embedded: bool


def open_database(config: Config) -> OpenedDatabase:
    """Find the database; start an embedded server when none is configured. Creates and installs nothing."""
    if config.database_url is not None:
        return OpenedDatabase(
            config.database_url,
            f"{urls.redact(config.database_url)} ({config.database_source})",
            release=_nothing,
            revive=_nothing,
            is_embedded=False,
        )
    server = embedded.start(embedded.find_home(Path.cwd()))
    return OpenedDatabase(
        server.database_url(config.database_name),
        f"{server.description}, database {config.database_name}",
        release=server.release,
        revive=server.ensure,
        is_embedded=True,
    )


def _nothing() -> None:
    return None


def prepare_database(opened: OpenedDatabase, config: Config) -> Prepared:
    """Create the database and install the schema where that is needed and allowed; one clear error where it
    cannot be reached.
    """
    try:
        return schema.prepare(opened.url, config.schema, run_migrations=config.run_migrations)
    except psycopg.Error as error:
        raise DBOSInitializationError(schema.explain(error, opened.url)) from error
