from __future__ import annotations

import functools
import linecache
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyengine.runtime import app_version


def one() -> int:
    return 1


def two() -> int:
    return 2


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


class Shop:
    def order(self) -> None: ...

    @staticmethod
    def close() -> None: ...


class Called:
    def __call__(self) -> None: ...


def made(source: str) -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec(source, names)
    function: Callable[..., Any] = names["f"]
    return function


def test_order_of_registration_does_not_matter() -> None:
    assert app_version.compute([one, two], "app") == app_version.compute(iter([two, one]), "app")


def test_source_and_app_name_matter() -> None:
    versions = {
        app_version.compute(functions, name)
        for functions, name in [([one], "app"), ([two], "app"), ([one, two], "app"), ([one], "other"), ([], "app")]
    }
    assert len(versions) == 5


def test_wrappers_are_looked_through() -> None:
    plain = app_version.compute([one], "app")
    assert app_version.compute([decorated(one)], "app") == plain
    assert app_version.compute([functools.partial(one)], "app") == plain
    assert app_version.compute([Shop().order], "app") == app_version.compute([Shop.order], "app")
    assert app_version.compute([Shop.__dict__["close"]], "app") == app_version.compute([Shop.close], "app")
    assert app_version.compute([Called()], "app") == app_version.compute([Called.__call__], "app")


def test_the_source_of_other_code_of_the_same_name_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    one_line = made("def f(x):\n    return x")
    lower = made("\n\ndef f(x):\n    return x")
    lines = [f"def other_{number}(): pass\n" for number in range(9)]
    # As `python -c` leaves it behind from Python 3.13 on.
    monkeypatch.setitem(linecache.cache, "<string>", (1, None, lines, "<string>"))

    assert app_version.compute([one_line], "app") == app_version.compute([lower], "app")


def test_without_source_the_compiled_code_counts() -> None:
    first = made("def f(x):\n    return x in {'a', 'b'}")
    again = made("\n\n\ndef f(x):\n    return x in {'a', 'b'}")
    other = made("def f(x):\n    return x in {'a', 'c'}")
    nested = made("def f(x):\n    return (lambda: x + 1)()")
    changed = made("def f(x):\n    return (lambda: x + 2)()")
    assert app_version.compute([first], "app") == app_version.compute([again], "app")
    assert len({app_version.compute([f], "app") for f in (first, other, nested, changed)}) == 4


PROGRAM = """
    import sys
    {imports}
    from pyengine.runtime import app_version

    names = {{}}
    exec("def f(x):\\n    return x in {{'a', 'b', 'c', 'd'}}, ('k', 1.5)", names)

    print(app_version.compute([alpha.run, beta.run, names["f"]], "app"))
"""


def version_elsewhere(folder: Path, imports: str, seed: str) -> str:
    root = Path(app_version.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(PROGRAM.format(imports=imports))],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{folder}", "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_processes_agree_whatever_the_import_order_hash_seed_and_layout(tmp_path: Path) -> None:
    (tmp_path / "alpha.py").write_text("def run():\n    return 1\n")
    (tmp_path / "beta.py").write_text("def run():\n    return 2\n")
    seen = {
        version_elsewhere(tmp_path, "import alpha, beta", "0"),
        version_elsewhere(tmp_path, "import beta, alpha", "1"),
    }
    (tmp_path / "alpha.py").write_bytes(b"if True:\r\n    def run():\r\n        return 1  \r\n")
    seen.add(version_elsewhere(tmp_path, "import alpha, beta", "2"))
    assert len(seen) == 1
