"""Names of schemas: which are accepted, and how the shipped SQL is rewritten for another one."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_SCHEMA = "pyengine"

# A reset drops the schema with all that is in it, so a schema that others live in must never be ours.
_RESERVED = frozenset({"public", "information_schema"})
# Quotes, backslashes, dollars and percent signs would end a literal, a function body or a format() template in the
# shipped SQL; a dot would read as two names.
_FORBIDDEN = re.compile(r"""["'\\$%.\x00-\x1f\x7f]""")
_MAX_BYTES = 63

# `pyengine.` means the schema wherever it stands, also inside a literal such as 'pyengine.in_flight_seq'.
_QUALIFIER = re.compile(r"""(?<![\w.$"])pyengine\.""")
_SCHEMA_OBJECT = re.compile(r"\b(schema\s+)pyengine\b(?!\.)", re.IGNORECASE)


def valid_schema(name: str) -> str:
    """The name itself; ValueError says what is wrong with it."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError("the schema name is empty")
    if name != name.strip():
        raise ValueError(f"the schema name {name!r} begins or ends with a space")
    if len(name.encode()) > _MAX_BYTES:
        raise ValueError(f"the schema name {name!r} is longer than the {_MAX_BYTES} bytes Postgres keeps")
    if found := _FORBIDDEN.search(name):
        raise ValueError(f"the schema name {name!r} contains {found.group()!r}, which is not allowed")
    if name.lower() in _RESERVED or name.lower().startswith("pg_"):
        raise ValueError(f"the schema name {name!r} is not allowed: give the engine a schema of its own")
    return name


@dataclass(frozen=True)
class Schema:
    """A checked schema name and the SQL rewritten for it."""

    name: str

    def __post_init__(self) -> None:
        from pyengine.errors import DBOSInitializationError

        try:
            valid_schema(self.name)
        except ValueError as exc:
            raise DBOSInitializationError(str(exc)) from exc

    @property
    def quoted(self) -> str:
        # Always quoted: no list of reserved words to keep. The default needs none and stays readable.
        return self.name if self.name == DEFAULT_SCHEMA else f'"{self.name}"'

    def rewrite(self, text: str) -> str:
        if self.name == DEFAULT_SCHEMA:
            return text
        text = _QUALIFIER.sub(f"{self.quoted}.", text)
        return _SCHEMA_OBJECT.sub(lambda match: match.group(1) + self.quoted, text)
