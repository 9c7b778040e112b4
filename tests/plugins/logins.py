"""Login roles of a test's own, dropped with everything they own."""

from __future__ import annotations

import secrets
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict


def as_role(url: str, role: str, password: str) -> str:
    """The same URL for another login."""
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    parts |= {"user": role, "password": password}
    user, secret, host, port, database = (
        quote(parts.pop(key, ""), safe="") for key in ("user", "password", "host", "port", "dbname")
    )
    rest = f"?{urlencode(parts, quote_via=quote)}" if parts else ""
    return f"postgresql://{user}:{secret}@{host}{':' if port else ''}{port}/{database}{rest}"


class Roles:
    """Names are new in each test: roles belong to the whole cluster."""

    def __init__(self, connection: psycopg.Connection[object]) -> None:
        self.connection = connection
        self.made: list[str] = []
        self.mark = secrets.token_hex(4)

    def name(self, kind: str) -> str:
        role = f"pyengine_test_{kind}_{self.mark}"
        self.made.append(role)
        return role

    def login(self, kind: str, attributes: str = "") -> tuple[str, str]:
        """Create a role that can log in; its name and password."""
        role, password = self.name(f"{kind}_{len(self.made)}"), secrets.token_hex(8)
        statement = f"create role {{}} login {attributes} password {{}}"
        self.connection.execute(sql.SQL(statement).format(sql.Identifier(role), sql.Literal(password)))
        return role, password

    def grant(self, what: str, **names: str) -> None:
        self.connection.execute(sql.SQL(what).format(**{key: sql.Identifier(name) for key, name in names.items()}))

    def drop(self, urls: list[str]) -> None:
        for url in urls:
            with psycopg.connect(url, autocommit=True) as connection:
                for role in self._existing():
                    connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(role)))
        for role in self._existing():
            self.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))

    def _existing(self) -> list[str]:
        rows = self.connection.execute("select rolname::text from pg_roles where rolname = any (%s)", (self.made,))
        return [str(row[0]) for row in rows.fetchall()]
