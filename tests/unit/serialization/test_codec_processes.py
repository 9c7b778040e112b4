"""What one program stores, another reads: real processes, with their own `__main__` and imports."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pyengine

SHOP = """
    from dataclasses import dataclass
    from decimal import Decimal
    import threading

    @dataclass
    class Item:
        price: Decimal

    class OutOfStock(Exception):
        def __init__(self, *, item, price):
            super().__init__(f"{item} is sold out")
            self.item = item
            self.price = price
"""
WRITER = """
    import sys
    from pyengine.serialization import Codec
    {setup}
    codec = Codec({codec})
    try:
        raise {error}
    except BaseException as error:
        sys.stdout.buffer.write(codec.encode_error(error))
"""
READER = """
    import sys
    from pyengine.serialization import Codec
    {setup}
    error = Codec({codec}).decode_error(sys.stdin.buffer.read())
    print(type(error).__module__, type(error).__qualname__, error, sep="|")
    print(vars(error))
"""
OWN_CLASS = "class Own(Exception): pass"


class Programs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop.py").write_text(textwrap.dedent(SHOP))

    def run(self, program: str, stdin: bytes = b"", **parts: str) -> bytes:
        path = self.folder / "program.py"
        path.write_text(textwrap.dedent(program).format(**{"setup": "", "codec": ""} | parts))
        root = Path(pyengine.__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-B", str(path)],
            input=stdin,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def read(self, data: bytes, **parts: str) -> tuple[list[str], str]:
        lines = self.run(READER, data, **parts).decode().splitlines()
        return lines[0].split("|"), lines[1]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.mark.parametrize("price", ["1", "shop.Decimal('1.5')"], ids=["json", "pickle"])
def test_importable_exception_comes_back_as_itself(programs: Programs, price: str) -> None:
    data = programs.run(WRITER, setup="import shop", error=f"shop.OutOfStock(item='tea', price={price})")
    (module, name, text), attributes = programs.read(data)
    assert (module, name, text) == ("shop", "OutOfStock", "tea is sold out")
    assert "'item': 'tea'" in attributes
    assert "'price': " in attributes


def test_class_of_main_comes_back_in_the_same_program(programs: Programs) -> None:
    data = programs.run(WRITER, setup=OWN_CLASS, error="Own('mine')")
    assert programs.read(data, setup=OWN_CLASS)[0] == ["__main__", "Own", "mine"]


@pytest.mark.parametrize("argument", ["'mine'", "b'mine'"], ids=["json", "pickle"])
@pytest.mark.parametrize("codec", ["", "strict=True"], ids=["loose", "strict"])
def test_class_of_another_main_comes_back_as_stand_in(programs: Programs, argument: str, codec: str) -> None:
    data = programs.run(WRITER, setup=OWN_CLASS, error=f"Own({argument})")
    (module, name, text), attributes = programs.read(data, codec=codec)
    assert (module, name) == ("pyengine.errors", "DBOSRemoteError")
    assert text == f"Own: {argument.strip(chr(39)) if argument[0] != 'b' else argument}"
    assert "raise Own(" in attributes


def test_strict_reader_knows_only_what_it_has_imported(programs: Programs) -> None:
    data = programs.run(WRITER, setup="import shop", error="shop.OutOfStock(item='tea', price=1)", codec="strict=True")
    assert programs.read(data, codec="strict=True")[0][:2] == ["pyengine.errors", "DBOSRemoteError"]
    assert programs.read(data, codec="strict=True", setup="import shop")[0][:2] == ["shop", "OutOfStock"]


def test_exception_whose_module_is_gone_comes_back_as_stand_in(programs: Programs) -> None:
    data = programs.run(WRITER, setup="import shop", error="shop.OutOfStock(item='tea', price=1)")
    (programs.folder / "shop.py").unlink()
    assert programs.read(data)[0] == ["pyengine.errors", "DBOSRemoteError", "OutOfStock: tea is sold out"]


def test_values_of_importable_classes_come_back(programs: Programs) -> None:
    writer = """
        import sys, shop
        from pyengine.serialization import Codec
        sys.stdout.buffer.write(Codec().encode_call((shop.Item(shop.Decimal("1.5")),), {"n": 1}))
    """
    reader = """
        import sys
        from pyengine.serialization import Codec
        print(Codec().decode_call(sys.stdin.buffer.read()))
    """
    stored = programs.run(writer.replace("{", "{{").replace("}", "}}"))
    assert programs.run(reader, stored) == b"((Item(price=Decimal('1.5')),), {'n': 1})\n"
