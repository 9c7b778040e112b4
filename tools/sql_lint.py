"""Lint of the SQL files that needs no database: `python tools/sql_lint.py [root]`. Prints problems; exit 1 if any.

What only the catalog can tell (overloads, rights of PUBLIC, comments) is tests/schema/test_catalog.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

HEADER_PARTS = ("Fence:", "Repeat:", "Locks:", "Raises:")
# Inlined helpers cannot pin a search_path: the clause stops inlining. They name everything in full.
INLINED = frozenset({"_now", "_advisory_key", "_fencing_token"})
# Helpers of every call, reached from functions that pin it or are ONE_ROW: the clause would cost more than they do.
INHERITING = frozenset(
    {
        "_check_enqueue",
        "_choose_rows",
        "_claim",
        "_deduplication_holder",
        "_describe_claims",
        "_hold_lease",
        "_insert_enqueued",
        "_insert_header",
        "_insert_headers",
        "_lock_queue_from",
        "_lock_queue_head",
        "_lock_suspects_head",
        "_record_child",
        "_record_children",
        "_take_rows",
    }
)
# Write one row of one workflow, alone: the engine's connections pin what these run under (pyengine/db/function.py).
ONE_ROW = frozenset(
    {
        "enqueue_workflow",
        "finish_workflow",
        "record_attempt",
        "record_checkpoint",
        "record_sleep",
        "start_workflow",
    }
)
UNPINNED = INLINED | INHERITING | ONE_ROW
# Called by themselves, after the commit of what they tell of.
NOTIFY = frozenset({"notify_queues", "notify_waits", "notify_ends"})
MAX_LINES = 400

_CREATE = re.compile(
    r"^create\s+(or\s+replace\s+)?(function|procedure)\s+([\w.\"]+)\s*\(", re.MULTILINE | re.IGNORECASE
)
_COMMENT_ON = re.compile(r"^comment\s+on\s+function\s+pyengine\.(\w+)\s*\(", re.MULTILINE | re.IGNORECASE)
_PINNED = re.compile(r"^\s*set\s+search_path\s*=\s*pg_catalog\s*,\s*pg_temp\s*$", re.MULTILINE | re.IGNORECASE)
_ERRCODE = re.compile(r"'(WF\d{3})'")
_LISTED = re.compile(r"^\[(WF\d{3})\]", re.MULTILINE)
_LINE_COMMENT = re.compile(r"--.*$", re.MULTILINE)
_BANNED = (
    (re.compile(r"\bselect\s+\*"), "select *: name the columns"),
    (re.compile(r"\bwhen\s+others\b"), "exception when others: name the condition"),
    (re.compile(r"#variable_conflict"), "#variable_conflict: use aliases and prefixes"),
    (re.compile(r"\bsecurity\s+definer\b"), "security definer: functions run with their caller's rights"),
    (re.compile(r"\b(now|transaction_timestamp|statement_timestamp)\s*\(\)"), "another clock than pyengine._now()"),
    (re.compile(r"\b(current_timestamp|localtimestamp)\b"), "another clock than pyengine._now()"),
    (re.compile(r"\bpg_notify\b|^\s*notify\b", re.MULTILINE), "notify: engine functions never notify"),
)


def lint(root: Path) -> Iterator[str]:
    """Problems, as `path: what`, of pg/ and sql/ under `root`."""
    listed = set(_LISTED.findall((root / "sql/errors.toml").read_text(encoding="utf-8")))
    seen: dict[str, Path] = {}
    for path in sorted((root / "sql/functions").rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        shown = path.relative_to(root)
        if path.stem in seen:
            yield f"{shown}: {seen[path.stem]} defines the same function"
        seen[path.stem] = shown
        yield from (f"{shown}: {problem}" for problem in lint_function(path.stem, text))
        codes = set(_ERRCODE.findall(text))
        yield from (f"{shown}: {code} is not listed in sql/errors.toml" for code in sorted(codes - listed))
    for path in sorted(p for p in (root / "pg").rglob("*.sql") if p.name != "grants.sql"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"\bcreate\s+(or\s+replace\s+)?function\b", text, re.IGNORECASE):
            yield f"{path.relative_to(root)}: logic belongs in sql/functions"


def lint_function(name: str, text: str) -> Iterator[str]:
    """Problems of one function file."""
    created = list(_CREATE.finditer(text))
    if len(created) != 1:
        yield f"defines {len(created)} functions: one a file"
        return
    match = created[0]
    if match.group(3) != f"pyengine.{name}":
        yield f"defines {match.group(3)}, not pyengine.{name}: the file is named after its function"
    if not match.group(1):
        yield "create function: `create or replace` keeps grants"
    if not re.fullmatch(r"_?[a-z][a-z0-9_]*", name):
        yield "a name is lower case with underscores"
    yield from _header(name, text[: match.start()])
    yield from _arguments(text[match.end() - 1 :])
    if not _PINNED.search(text) and name not in UNPINNED:
        yield "no `set search_path = pg_catalog, pg_temp`"
    if _COMMENT_ON.findall(text) != [name]:
        yield "no `comment on function` for it (or for another one)"
    code = _LINE_COMMENT.sub("", text)
    for pattern, problem in _BANNED:
        if pattern.search(code.lower()) and not (name in NOTIFY and "never notify" in problem):
            yield problem
    if text.count("\n") > MAX_LINES:
        yield f"longer than {MAX_LINES} lines: split it"


def _header(name: str, head: str) -> Iterator[str]:
    lines = [line for line in head.splitlines() if line.strip()]
    if not lines or not all(line.startswith("--") for line in lines):
        yield "no header comment before the function (or something else stands there)"
        return
    if not lines[0].startswith(f"-- {name}:"):
        yield f"the header begins with `-- {name}: <purpose>`"
    missing = [part for part in HEADER_PARTS if part not in head]
    if missing and name not in INLINED:
        yield f"the header says nothing about {', '.join(missing)}"


def _arguments(text: str) -> Iterator[str]:
    """`text` begins at the opening parenthesis of the argument list."""
    for argument in _split_arguments(text):
        words = argument.split()
        if words and words[0].lower() in ("in", "variadic"):
            words = words[1:]
        if words and words[0].lower() in ("out", "inout"):
            yield f"argument `{argument}`: results are `returns table` or a scalar"
        elif words and not words[0].startswith("p_"):
            yield f"argument `{argument}` has no p_ prefix"
        if re.search(r"\bdefault\b|(?<![<>:])=", argument, re.IGNORECASE):
            yield f"argument `{argument}`: no defaults, callers name every argument"


def _split_arguments(text: str) -> list[str]:
    depth, current, found = 0, "", []
    for character in _LINE_COMMENT.sub("", text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            break
        if character == "," and depth == 1:
            found.append(current.strip())
            current = ""
        elif not (character == "(" and depth == 1):
            current += character
    return [argument for argument in [*found, current.strip()] if argument]


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    problems = list(lint(root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
