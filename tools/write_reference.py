"""Writes docs/reference/sql-functions.md and error-codes.md; with `--check` it only compares.

What they say is written once, where it holds: the signature and `comment on function` in sql/functions, the groups in
pg/grants.sql, the codes in sql/errors.toml, the exceptions in pyengine/errors.py.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOUNS = {
    "workflows": "Workflows",
    "checkpoints": "Checkpoints",
    "queues": "Queues",
    "schedules": "Schedules",
    "executors": "Executors and takeover",
    "versions": "Application versions",
    "retention": "Retention",
    "maintenance": "Maintenance",
    "clock": "Clock",
    "meta": "Schema",
}
OWN_ERRORS = 101  # codes from here on are this engine's alone


@dataclass(frozen=True)
class Function:
    """One file of sql/functions."""

    noun: str
    name: str
    arguments: tuple[str, ...]
    returns: str
    comment: str


def functions() -> list[Function]:
    return [_parse(path) for path in sorted((ROOT / "sql" / "functions").glob("*/*.sql"))]


def _parse(path: Path) -> Function:
    text = path.read_text(encoding="utf-8")
    head = re.search(
        r"create or replace function pyengine\.\w+\s*\((?P<arguments>.*?)\)\s*"
        r"\n?\s*returns (?P<returns>.*?)\s*\nlanguage",
        text,
        re.DOTALL,
    )
    comment = re.search(
        r"^comment on function .*?\bis\s*'(?P<comment>(?:[^']|'')*)'\s*;", text, re.DOTALL | re.MULTILINE
    )
    if head is None or comment is None:
        raise ValueError(f"{path}: no signature or no comment was found")
    return Function(
        path.parent.name,
        path.stem,
        tuple(filter(None, (_flat(part) for part in head["arguments"].split(",")))),
        _flat(head["returns"]),
        comment["comment"].replace("''", "'"),
    )


def _flat(text: str) -> str:
    return re.sub(r"\( ", "(", re.sub(r" \)", ")", " ".join(text.split())))


def _callers() -> dict[str, str]:
    """Who else than an executor may call a function, out of the data in pg/grants.sql."""
    text = (ROOT / "pg" / "grants.sql").read_text(encoding="utf-8")
    groups = re.findall(
        r"\('([\w, ]+)', array\[([^\]]*)\]\)", text.partition("functions (kind, names)")[2].partition("tables (")[0]
    )
    return {name: kinds for kinds, names in groups for name in re.findall(r"'(\w+)'", names)}


def sql_functions() -> str:
    found = functions()
    callers = _callers()
    lines = [
        "# SQL functions",
        "",
        "<!-- written by tools/write_reference.py from sql/functions and pg/grants.sql; do not edit -->",
        "",
        "All logic of the engine is in these functions, in the schema `pyengine` unless another one is configured.",
        "They are called by the engine. Programs may call them, too: a released function keeps its signature and its",
        "meaning.",
        "The header of each file in `sql/functions/` also says what a repeated call does and which locks it takes.",
        "",
        "Every function that writes for an executor needs READ COMMITTED. Codes `WF…` are explained in",
        "[error codes](error-codes.md). Executors may call every function; who else may is said with each.",
    ]
    unknown = {function.noun for function in found} - set(NOUNS)
    if unknown:
        raise ValueError(f"tools/write_reference.py has no heading for {sorted(unknown)}")
    for noun, heading in NOUNS.items():
        mine = [function for function in found if function.noun == noun]
        if not mine:
            continue
        lines += ["", f"## {heading}"]
        for function in mine:
            if not function.name.startswith("_"):
                lines += _section(function, callers.get(function.name))
        helpers = [function for function in mine if function.name.startswith("_")]
        if helpers:
            lines += ["", "Helpers, not to be called by themselves:", "", "| function | what it does |", "|---|---|"]
            lines += [f"| `{helper.name}` | {helper.comment.replace('|', chr(92) + '|')} |" for helper in helpers]
    return "\n".join(lines) + "\n"


def _section(function: Function, callers: str | None) -> list[str]:
    arguments = ", ".join(f"`{argument}`" for argument in function.arguments) or "none"
    return [
        "",
        f"### {function.name}",
        "",
        function.comment,
        "",
        f"- Arguments: {arguments}",
        f"- Returns: `{function.returns}`",
        f"- Also for: {callers or 'nobody'}",
    ]


def error_codes() -> str:
    lines = [
        "# Error codes",
        "",
        "<!-- written by tools/write_reference.py from sql/errors.toml and pyengine/errors.py; do not edit -->",
        "",
        "## Exceptions",
        "",
        "All are in `pyengine.errors`; `from pyengine import error` gives the same module. `dbos_error_code` is the",
        "number, and `str()` begins with `DBOS Error N:`. Those marked *base* derive from `DBOSBaseException`:",
        "`except Exception` does not catch them, because the run they end is over. The others derive from",
        "`DBOSException`.",
        "",
        "| code | exception | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| {code} | `{name}`{base} | {meaning} |" for code, name, base, meaning in _exceptions()]
    lines += [
        "",
        f"Codes below {OWN_ERRORS} are those of the DBOS API. Names of earlier releases are aliases:",
        "",
        "| alias | is |",
        "|---|---|",
    ]
    lines += [f"| `{alias}` | `{name}` |" for alias, name in _aliases()]
    lines += [
        "",
        "`DBOSRemoteError` has no code. It stands in for an exception of a workflow or step that could not be brought",
        "back as itself, and carries its type, message and traceback as text.",
        "",
        "## SQLSTATEs",
        "",
        "Class `WF` is the engine's own. WF0 is about ownership and identity, WF1 about input, WF9 says that an",
        "invariant is broken, which is a bug.",
        "",
        "| SQLSTATE | name | meaning | retryable |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{code}` | {fields['name']} | {fields['meaning']} | {'yes' if fields['retryable'] == 'true' else 'no'} |"
        for code, fields in _sqlstates()
    ]
    return "\n".join(lines) + "\n"


def _sqlstates() -> list[tuple[str, dict[str, str]]]:
    """Read without tomllib, which Python 3.10 does not have: the file holds only sections, texts and booleans."""
    text = (ROOT / "sql" / "errors.toml").read_text(encoding="utf-8")
    sections = re.split(r"^\[(WF\w{3})\]$", text, flags=re.MULTILINE)[1:]
    return [
        (code, dict(re.findall(r'^(\w+) = "?(.*?)"?$', body, re.MULTILINE)))
        for code, body in zip(sections[::2], sections[1::2], strict=True)
    ]


def _exceptions() -> list[tuple[int, str, str, str]]:
    from pyengine import errors

    code_of_engine = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "pyengine").rglob("*.py") if path.name != "errors.py"
    )
    rows = []
    for name, value in vars(errors).items():
        code = getattr(value, "dbos_error_code", None)
        if not isinstance(value, type) or value.__name__ != name or code is None:
            continue
        meaning = inspect.cleandoc(value.__dict__.get("__doc__") or _PLAIN[name]).replace("\n", " ")
        if not re.search(rf"\b{name}\(", code_of_engine) and "Never raised" not in meaning:
            meaning += " Not raised by this release."
        base = " (*base*)" if issubclass(value, errors.DBOSBaseException) else ""
        rows.append((code, name, base, meaning))
    return sorted(rows)


# What classes whose name says it all would say.
_PLAIN = {
    "DBOSRecoveryError": "A workflow could not be recovered.",
    "DBOSNonExistentWorkflowError": "No workflow has this id.",
    "DBOSNotAuthorizedError": "The caller lacks a role that the function requires.",
    "DBOSPatchNondeterminismError": "A patch was interleaved with other tasks.",
    "DBOSQueueDeduplicatedError": "Another unfinished workflow of the queue holds the deduplication id.",
    "DBOSStreamTimeoutError": "A stream had no further value in time.",
    "DBOSStreamNondeterminismError": "Overlapping reads of a stream.",
    "DBOSStepTimeoutError": "An attempt of an async step took longer than its `timeout_seconds`.",
    "DBOSQueryTimeoutError": "A query took too long and was stopped.",
}


def _aliases() -> list[tuple[str, str]]:
    from pyengine import errors

    return sorted(
        (name, value.__name__)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.CodedError) and value.__name__ != name
    )


def pages() -> dict[Path, str]:
    return {REFERENCE / "sql-functions.md": sql_functions(), REFERENCE / "error-codes.md": error_codes()}


def main() -> int:
    stale = {
        page: text for page, text in pages().items() if not page.is_file() or page.read_text(encoding="utf-8") != text
    }
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(ROOT)} is not current: run python tools/write_reference.py", file=sys.stderr)
        return 1 if stale else 0
    for page, text in stale.items():
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
