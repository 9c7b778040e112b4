"""The shipped SQL: migrations, functions, views and grants, from the wheel or from a checkout."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

_MIGRATION_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


def checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    text: str

    @cached_property
    def checksum(self) -> str:
        return checksum(self.text)

    @property
    def label(self) -> str:
        return f"{self.version:04d}_{self.name}"


@dataclass(frozen=True)
class Function:
    name: str
    text: str

    @cached_property
    def checksum(self) -> str:
        return checksum(self.text)


@dataclass(frozen=True)
class Sources:
    """Everything that is installed. `digest` names the whole of it."""

    migrations: tuple[Migration, ...]
    functions: tuple[Function, ...]
    views: str = ""
    grants: str = ""
    oldest_protocol: int = field(kw_only=True)

    @property
    def version(self) -> int:
        return self.migrations[-1].version

    @cached_property
    def view_names(self) -> tuple[str, ...]:
        return tuple(
            re.findall(r"^create (?:or replace )?view pyengine\.(\w+)", self.views, re.MULTILINE | re.IGNORECASE)
        )

    @cached_property
    def digest(self) -> str:
        parts = [f"{self.oldest_protocol}"]
        parts += [f"migration {m.label} {m.checksum}" for m in self.migrations]
        parts += [f"function {f.name} {f.checksum}" for f in self.functions]
        parts += [checksum(self.views), checksum(self.grants)]
        return checksum("\n".join(parts))


@dataclass(frozen=True)
class Locations:
    migrations: Path
    functions: Path
    views: Path
    grants: Path
    errors: Path


@cache
def locations() -> Locations:
    """In a wheel the SQL lies inside the package; a checkout keeps it at the top level."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_sql"
    if shipped.is_dir():
        pg, sql = shipped / "pg", shipped
    else:
        pg, sql = package.parent / "pg", package.parent / "sql"
    if not (pg / "migrations").is_dir():
        raise RuntimeError(
            f"the engine's SQL files are missing: no folder {pg / 'migrations'}; install the package again"
        )
    return Locations(pg / "migrations", sql / "functions", pg / "views.sql", pg / "grants.sql", sql / "errors.toml")


def load() -> Sources:
    """Read the shipped SQL. Not cached: it is read once a process, and a developer's edit counts at once."""
    from pyengine.schema.versions import OLDEST_PROTOCOL

    where = locations()
    return Sources(
        migrations=migrations(where.migrations),
        functions=functions(where.functions),
        views=_read(where.views) if where.views.is_file() else "",
        grants=_read(where.grants) if where.grants.is_file() else "",
        oldest_protocol=OLDEST_PROTOCOL,
    )


def migrations(folder: Path | None = None) -> tuple[Migration, ...]:
    found = []
    for path in sorted((folder or locations().migrations).glob("*.sql")):
        match = _MIGRATION_NAME.fullmatch(path.name)
        if match is None:
            raise RuntimeError(f"{path.name}: a migration is named NNNN_words.sql")
        found.append(Migration(int(match.group(1)), match.group(2), _read(path)))
    numbers = [m.version for m in found]
    if numbers != list(range(len(numbers))):
        raise RuntimeError(f"migrations must be numbered from 0000 without a gap, found {numbers}")
    return tuple(found)


def functions(folder: Path | None = None) -> tuple[Function, ...]:
    paths = sorted((folder or locations().functions).rglob("*.sql"), key=lambda path: path.stem)
    names = [path.stem for path in paths]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise RuntimeError(f"two files define the same function: {', '.join(doubled)}")
    return tuple(Function(path.stem, _read(path)) for path in paths)


def _read(path: Path) -> str:
    # Universal newlines: a checkout with CRLF must give the same checksum.
    return path.read_text(encoding="utf-8")
