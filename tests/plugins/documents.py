"""Runs the code blocks of a Markdown page as a reader would: in order, in one folder, as real programs and commands.

A comment on the line above a block says what is special about it:

    <!-- test: skip REASON -->      not run; for what would change the reader's machine
    <!-- test: file NAME -->        only written to that file, for a later block
    <!-- test: continues -->        python: goes on where the block before it ended, so both are run as one program
    <!-- test: until PATTERN -->    runs until a line matches, then gets Ctrl-C; for what does not end by itself
    <!-- test: output -->           not code: these lines were printed by the block before, in this order

`console` blocks carry both: lines that begin with `$ ` are run, the others are output.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plugins.processes import Processes, Program

PYTHON = ("python", "py")
SHELL = ("shell", "bash", "sh")
CONSOLE = ("console",)
PATIENCE_SECONDS = 90
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<rest>[^\n`]*)$")
COMMENT = re.compile(r"^\s*<!-- test: (?P<verb>\w+) ?(?P<argument>.*?) *-->\s*$")
VERBS = {"skip", "file", "continues", "until", "output"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    line: int
    language: str
    text: str
    verb: str = ""
    argument: str = ""


def blocks(page: str) -> Iterator[Block]:
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if not opening:
            number += 1
            continue
        start, indent = number, len(opening["indent"])
        number += 1
        body = []
        while lines[number].strip() != "```":
            body.append(lines[number][indent:])
            number += 1
        number += 1
        comment = COMMENT.match(lines[start - 1]) if start else None
        verb, argument = (comment["verb"], comment["argument"]) if comment else ("", "")
        if comment and (verb not in VERBS or (verb in ("skip", "file", "until") and not argument)):
            raise AssertionError(f"line {start}: a test comment is one of {sorted(VERBS)}, skip and until say what")
        yield Block(start + 1, opening["language"], "\n".join(body) + "\n", verb, argument)


def missing(printed: list[str], expected: str) -> str | None:
    """The first expected line that was not printed after the ones before it; `...` stands for anything."""
    place = 0
    for line in filter(None, map(str.strip, expected.splitlines())):
        pattern = re.compile(".*".join(re.escape(part) for part in re.split(r"\.\.\.|…", line)))
        while place < len(printed) and not pattern.search(printed[place]):
            place += 1
        if place == len(printed):
            return line
        place += 1
    return None


class Page:
    """One run of one page."""

    def __init__(self, name: str, folder: Path, processes: Processes) -> None:
        self.name = name
        self.folder = folder
        self._processes = processes
        self._program = ""
        self._printed: list[str] = []
        self._commands = folder.parent / "commands"
        folder.mkdir(parents=True, exist_ok=True)
        self._make_command("pyengine", "-m pyengine")
        self._make_command("python", "")

    def _make_command(self, name: str, arguments: str) -> None:
        """A command of this checkout and interpreter, whatever is installed."""
        self._commands.mkdir(exist_ok=True)
        script = self._commands / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        script.chmod(0o755)

    def run(self, text: str) -> None:
        for block in blocks(text):
            where = f"{self.name}:{block.line}"
            if block.verb == "skip":
                continue
            if block.verb == "output":
                self._expect(where, block.text)
            elif block.verb == "file":
                place = self.folder / block.argument
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(block.text)
            elif block.language in PYTHON:
                self._program = self._program + block.text if block.verb == "continues" else block.text
                (self.folder / "main.py").write_text(self._program)
                self._finish(where, block, sys.executable, "-u", "main.py")
            elif block.language in SHELL:
                self._finish(where, block, "bash", "-euo", "pipefail", "-c", block.text)
            elif block.language in CONSOLE:
                self._console(where, block)

    def _console(self, where: str, block: Block) -> None:
        for step in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            self._finish(where, block, "bash", "-euo", "pipefail", "-c", command)
            self._expect(where, output)

    def _expect(self, where: str, expected: str) -> None:
        absent = missing(self._printed, expected)
        assert absent is None, f"{where}: {absent!r} was not printed, but:\n" + "\n".join(self._printed)

    def _finish(self, where: str, block: Block, *command: str) -> None:
        path = os.pathsep.join([str(self._commands), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        program = self._processes.run(*command, folder=self.folder, env={"PATH": path})
        status = self._watch(program, block)
        self._printed = [line.text for line in program.lines]
        assert status == 0 or block.verb == "until", f"{where}: {program.report()}"

    def _watch(self, program: Program, block: Block) -> int:
        if block.verb == "until":
            program.wait_for_line(block.argument, timeout_seconds=PATIENCE_SECONDS)
            program.interrupt()
        return program.wait(PATIENCE_SECONDS)
