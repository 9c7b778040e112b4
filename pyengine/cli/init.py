"""`pyengine init`: a configuration file, or a folder with a program that runs."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated, Optional

import typer

from ..config import file as config_file
from ..config import names
from .console import CommandError, ask_yes_or_no, is_interactive, print_json, program_name, say
from .options import JsonOption

# What `start` runs: the configuration alone is for the web program of the tutorial.
_WEB = "fastapi run ./main.py"
_START = {"hello": "python3 main.py", "fastapi": _WEB}
_DEFAULT = "hello"

_Text = Optional[str]  # noqa: UP045  (typer reads it at run time)


def init(
    name: Annotated[_Text, typer.Argument(metavar="NAME", help="The project, and the folder made for it.")] = None,
    config_only: Annotated[bool, typer.Option("--config", "-c", help="Only write dbos-config.yaml, here.")] = False,
    template: Annotated[
        _Text, typer.Option("--template", "-t", help=f"One of {', '.join(_START)}. Default: {_DEFAULT}.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", "--yes", "-y", help="Take the default name, overwrite without asking.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a folder NAME with a program that runs; without NAME, or with --config, write into this folder."""
    chosen = template or _DEFAULT
    if chosen not in _START:
        raise CommandError(f"there is no template {chosen!r}; there are {', '.join(_START)}")
    folder = Path.cwd()
    project = _project_name(name, folder, ask=not (force or as_json))
    if config_only:
        files = _configuration(project, _START[chosen] if template else _WEB)
    else:
        folder = folder / project if name else folder
        files = {**_configuration(project, _START[chosen]), **_program(project, chosen)}
    written = _write(folder, files, force)
    if as_json:
        print_json({"name": project, "folder": str(folder), "written": written})
        return
    say(f"Wrote {', '.join(written)} in {folder}" if written else f"Nothing to do: {folder} has these files already")
    if not config_only:
        say(f"Run it with: {f'cd {project} && ' if name else ''}{program_name()} start")


def _project_name(given: str | None, folder: Path, *, ask: bool) -> str:
    if given is not None:
        if not names.is_valid_name(given):
            raise CommandError(f"{given!r} is no project name: {names.RULE}; {names.valid_name(given)!r} would be one")
        return given
    default = names.valid_name(folder.name)
    if not (ask and is_interactive()):
        return default
    while True:
        answer = str(typer.prompt("What is your project's name?", default)).strip()
        if names.is_valid_name(answer):
            return answer
        say(f"{answer!r} is no project name: {names.RULE}")


def _configuration(project: str, start: str) -> dict[str, str]:
    if sys.platform == "win32":
        start = start.replace("python3 ", "python ")
    text = Template(_template("dbos-config.yaml.txt")).substitute(name=project, start=start)
    return {config_file.FILE_NAME: text}


def _program(project: str, template: str) -> dict[str, str]:
    return {
        "main.py": _template(template, "main.py.txt"),
        "README.md": Template(_template(template, "README.md.txt")).substitute(name=project),
        ".gitignore": _template("gitignore.txt"),
    }


def _template(*path: str) -> str:
    place = resources.files(__package__).joinpath("templates")
    for part in path:
        place = place.joinpath(part)
    return place.read_text(encoding="utf-8")


def _write(folder: Path, files: dict[str, str], force: bool) -> list[str]:
    """Write what is not there yet. What is there with another text is somebody's work: asked for before it is lost."""
    try:
        there = {name: (folder / name).read_bytes() for name in files if (folder / name).exists()}
        due = [name for name, text in files.items() if there.get(name) != text.encode()]
        lost = [name for name in due if name in there]
        if lost and not force:
            _ask_to_overwrite(folder, lost)
        folder.mkdir(parents=True, exist_ok=True)
        for name in due:
            (folder / name).write_bytes(files[name].encode())
    except OSError as error:
        raise CommandError(f"cannot write in {folder}: {error}") from error
    return due


def _ask_to_overwrite(folder: Path, lost: list[str]) -> None:
    what = f"{', '.join(lost)} in {folder}"
    if not is_interactive():
        raise CommandError(f"there is already {what}; --force overwrites")
    if not ask_yes_or_no(f"Overwrite {what}?"):
        raise CommandError("nothing was written")
