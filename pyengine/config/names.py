"""Names of applications, and of the databases made for them."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MIN_LENGTH = 3
MAX_LENGTH = 256
RULE = f"{MIN_LENGTH} to {MAX_LENGTH} characters out of a-z, 0-9, '-' and '_'"

_VALID = re.compile(rf"[a-z0-9_-]{{{MIN_LENGTH},{MAX_LENGTH}}}", re.ASCII)
_IDENTIFIER_BYTES = 63  # what Postgres keeps of an identifier; it cuts the rest off without a word
_SERVERS_OWN = frozenset({"postgres", "template0", "template1"})


def is_valid_name(text: str) -> bool:
    return _VALID.fullmatch(text) is not None


def valid_name(text: str) -> str:
    """Make an application name out of any text, such as a folder's name."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_")[:MAX_LENGTH]
    if not name:
        return "app"
    return name if len(name) >= MIN_LENGTH else f"{name}-app"


def database_name(name: str) -> str:
    """The database an application gets when its configuration names none."""
    database = name.replace("-", "_")
    if database in _SERVERS_OWN:
        database += "_app"
    if database[0].isdigit():
        database = f"_{database}"
    if len(database) <= _IDENTIFIER_BYTES:
        return database
    # Two long names that differ only at their ends must not share a database.
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{database[: _IDENTIFIER_BYTES - 9]}_{digest}"
