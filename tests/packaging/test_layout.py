"""The layout that CONTRIBUTING describes, held by a test: where things are, who imports whom, how long a file is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pyengine"
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTIONS = sorted((ROOT / "sql" / "functions").glob("*/*.sql"))
MAX_LINES = 500

# A part may import from parts of a lower rank and from itself. Leaves know only other leaves.
LEAF = 0
RANKS = {
    "config": LEAF,
    "embedded": LEAF,
    "error": LEAF,
    "errors": LEAF,
    "logs": LEAF,
    "machine": LEAF,
    "schema": LEAF,
    "serialization": LEAF,
    "_version": LEAF,
    "db": 1,
    "runtime": 2,
    "integrations": 3,
    "api": 4,
    "__init__": 5,
    "supervisor": 6,
    "cli": 7,
    "__main__": 8,
}
# Who may speak SQL: calls of functions, and the installer. `embedded` may ask the server it started whether it answers.
SQL_PARTS = {"db", "schema"}
DRIVER_PARTS = {*SQL_PARTS, "embedded"}
POOLS = ("psycopg_pool", "psycopg.sql")
CONNECTING = {"connect", "Connection", "AsyncConnection", "Cursor", "AsyncCursor", "sql"}
STATEMENT = re.compile(
    r"^\s*(select\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|truncate\s|with\s+\w+\s+as\s*\(|call\s+\w+\.|listen\s|notify\s"
    r"|(create|alter|drop)\s+(or\s+replace\s+)?(unique\s+)?(schema|table|index|view|function|role|database|type|sequence)\s"
    r"|grant\s.*\sto\s|revoke\s.*\sfrom\s)",
    re.IGNORECASE | re.DOTALL,
)


def part_of(module: Path) -> str:
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(), str(module))


def imported_modules(module: Path) -> Iterator[str]:
    """Absolute dotted names of everything a module imports, wherever in it the import stands."""
    package = ["pyengine", *module.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = [*base, *(node.module.split(".") if node.module else [])]
            if origin == ["pyengine"]:
                yield from (f"pyengine.{alias.name}" for alias in node.names)
            else:
                yield ".".join(origin)


def docstrings(tree: ast.Module) -> set[int]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, owners) and node.body]
    return {id(statement.value) for statement in first if isinstance(statement, ast.Expr)}


def test_every_part_of_the_package_has_a_rank() -> None:
    assert {part_of(module) for module in MODULES} <= set(RANKS)


def test_imports_point_one_way() -> None:
    wrong = []
    for module in MODULES:
        own = part_of(module)
        for name in imported_modules(module):
            parts = name.split(".")
            if parts[0] != "pyengine":
                continue
            # A name of the package itself, such as a class, comes from its __init__.
            target = parts[1] if len(parts) > 1 and parts[1] in RANKS else "__init__"
            if target != own and RANKS[target] >= RANKS[own] and not RANKS[own] == RANKS[target] == LEAF:
                wrong.append(f"{short(module)} imports {name}")

    assert wrong == []


def test_only_the_database_modules_contain_sql() -> None:
    found = []
    for module in MODULES:
        tree = tree_of(module)
        harmless = docstrings(tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value)):
                continue
            allowed = part_of(module) in SQL_PARTS or (part_of(module) == "embedded" and "pyengine." not in node.value)
            if id(node) not in harmless and not allowed:
                found.append(f"{short(module)}:{node.lineno}: {node.value[:60]}")

    assert found == []


def test_only_the_database_modules_open_connections() -> None:
    """Others may know the driver's errors and how it reads a connection string, no more."""
    found = []
    for module in MODULES:
        if part_of(module) in DRIVER_PARTS:
            continue
        found += [f"{short(module)} imports {name}" for name in imported_modules(module) if name.startswith(POOLS)]
        found += [
            f"{short(module)}:{node.lineno}: psycopg.{node.attr}"
            for node in ast.walk(tree_of(module))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if node.value.id == "psycopg" and node.attr in CONNECTING
        ]

    assert found == []


def test_files_stay_small() -> None:
    lengths = {short(source): len(source.read_text().splitlines()) for source in [*MODULES, *FUNCTIONS]}

    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_every_module_says_what_it_is() -> None:
    assert [short(module) for module in MODULES if not ast.get_docstring(tree_of(module))] == []


def test_a_function_has_one_place() -> None:
    names = [source.stem for source in FUNCTIONS]

    assert sorted(set(names)) == sorted(names)


def test_only_pyengine_can_be_imported() -> None:
    """`pg` is another package's name; a Python file in it, or in sql/, would take that name away."""
    python = {
        short(file).split("/")[0]
        for file in ROOT.glob("*/**/*.py")
        if not file.relative_to(ROOT).parts[0].startswith(".")
    }
    packages = {short(file.parent) for file in ROOT.glob("*/__init__.py")}

    assert packages == {"pyengine"}
    assert python.isdisjoint({"pg", "sql"})


def test_migrations_are_numbered_without_gaps() -> None:
    names = sorted(file.name for file in (ROOT / "pg" / "migrations").glob("*.sql"))

    assert [int(name.split("_")[0]) for name in names] == list(range(len(names)))


def test_both_distributions_have_one_version() -> None:
    version = re.findall(r'^__version__ = "(.+)"$', (PACKAGE / "_version.py").read_text(), re.MULTILINE)
    project = (ROOT / "compat" / "dbos" / "pyproject.toml").read_text()

    assert re.findall(r'^version = "(.+)"$', project, re.MULTILINE) == version
    assert re.findall(r'"pyengine\[embedded,fastapi\]==([^"]+)"', project) == version
