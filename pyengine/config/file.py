"""`dbos-config.yaml`: found upwards from the working directory, with `${VAR}` taken from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pyengine.config import notes
from pyengine.config.checks import Substituted
from pyengine.config.notes import Note
from pyengine.errors import DBOSInitializationError

FILE_NAME = "dbos-config.yaml"
_REFERENCE = re.compile(r"\$\{([^}]+)\}")
_SECRET_PREFIX = "DOCKER_SECRET:"
_SECRETS_FOLDER = Path("/run/secrets")


@dataclass(frozen=True)
class ConfigurationFile:
    path: Path
    content: dict[str, Any]
    notes: tuple[Note, ...]


def find(start: Path) -> Path | None:
    """Return the configuration file of `start` or of the nearest folder above it."""
    folder = start.absolute()
    candidates = (parent / FILE_NAME for parent in (folder, *folder.parents))
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder above that this user may not look into
        return False


def read(path: Path, environ: Mapping[str, str]) -> ConfigurationFile:
    """Read and substitute; what the keys mean is not looked at here."""
    try:
        raw = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise DBOSInitializationError(f"The configuration file {path} cannot be read: {exc}") from exc
    substitution = _Substitution(environ)
    try:
        content = yaml.safe_load(substitution.mark(raw))
    except (yaml.YAMLError, ValueError) as exc:
        raise DBOSInitializationError(f"The configuration file {path} is not valid YAML: {_where(exc)}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise DBOSInitializationError(
            f"The configuration file {path} must be a mapping of keys to values, it is a {type(content).__name__}"
        )
    filled = {key: substitution.fill(value) for key, value in content.items()}
    return ConfigurationFile(path, filled, tuple(substitution.notes))


def _where(exc: Exception) -> str:
    # The full text of a YAML error quotes the line, which may hold a password.
    mark = getattr(exc, "problem_mark", None)
    problem = getattr(exc, "problem", None) or "it cannot be parsed"
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else problem


class _Substitution:
    """Replaces references after parsing, so that no value can change the shape of the document.

    While YAML is parsed each reference stands as a plain word; references in comments thereby vanish with them.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.notes: list[Note] = []
        self._environ = environ
        self._names: list[str] = []
        self._mark = re.compile(r"pyengine-reference-(\d+)-here")

    def mark(self, raw: str) -> str:
        def replace(match: re.Match[str]) -> str:
            self._names.append(match[1].strip())
            return f"pyengine-reference-{len(self._names) - 1}-here"

        return _REFERENCE.sub(replace, raw)

    def fill(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._fill_text(value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        return value

    def _fill_text(self, text: str) -> str:
        found = [int(number) for number in self._mark.findall(text)]
        used = [self._names[number] for number in found if number < len(self._names)]
        if not used:
            return text
        filled = self._mark.sub(lambda match: self._value(self._names[int(match[1])]), text)
        return Substituted(filled, used)

    def _value(self, name: str) -> str:
        if name.startswith(_SECRET_PREFIX):
            return self._docker_secret(name.removeprefix(_SECRET_PREFIX).strip())
        value = self._environ.get(name, "")
        if not value and "URL" not in name.upper():  # an empty URL gets a warning of its own
            self.notes.append(notes.warning(f"{FILE_NAME}: the environment variable {name} is not set; taken as empty"))
        return value

    def _docker_secret(self, name: str) -> str:
        try:
            return (_SECRETS_FOLDER / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            self.notes.append(notes.warning(f"{FILE_NAME}: there is no readable secret {name}; taken as empty"))
            return ""
