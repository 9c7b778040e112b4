from __future__ import annotations

import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pyengine.errors import DBOSMaxStepRetriesExceeded, DBOSRemoteError, DBOSSerializationError
from pyengine.serialization import Codec, DBOSPortableJSONSerializer, DefaultSerializer

strict = Codec(strict=True)
loose = Codec()


class OrderError(Exception):
    def __init__(self, *, order: int, when: datetime | None = None) -> None:
        super().__init__(f"order {order}")
        self.order = order
        if when is not None:
            self.when = when


class ReducedError(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left}-{right}")
        self.pair = [left, right]

    def __reduce__(self) -> Any:
        return ReducedError, tuple(self.pair)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ((1, 2), "a tuple"),
        ({"a": [1, Decimal("1")]}, r"a decimal\.Decimal \(at \[1\]\) \(under 'a'\)"),
        ({1: 2}, "a dict with the key 1"),
        (float("nan"), "the float nan"),
        ([["\ud800"]], r"a str with a lone surrogate \(at \[0\]\) \(at \[0\]\)"),
    ],
)
def test_strict_refuses_to_pickle_and_names_the_type(value: Any, named: str) -> None:
    with pytest.raises(DBOSSerializationError, match=named):
        strict.encode(value)


def test_strict_names_the_argument_that_is_no_json() -> None:
    with pytest.raises(DBOSSerializationError, match=r"Cannot store a bytes \(at \[1\]\) \(under 'args'\)"):
        strict.encode_call((1, b""), {})


def test_strict_refuses_circles() -> None:
    circle: list[Any] = []
    circle.append([circle])
    with pytest.raises(DBOSSerializationError, match="a list"):
        strict.encode(circle)


def test_strict_refuses_what_would_explode() -> None:
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    with pytest.raises(DBOSSerializationError):
        strict.encode(value)


def test_strict_copies_what_is_shared() -> None:
    row = [1]
    assert strict.decode(strict.encode({"a": row, "b": row})) == {"a": [1], "b": [1]}
    assert strict.decode_call(strict.encode_call((row, row), {})) == (([1], [1]), {})


def test_strict_refuses_to_read_a_pickle_and_names_its_type() -> None:
    with pytest.raises(DBOSSerializationError, match=r"Refused to read a pickle of decimal\.Decimal"):
        strict.decode(loose.encode(Decimal("1")))
    with pytest.raises(DBOSSerializationError, match="Refused to read a pickle"):
        strict.decode_call(loose.encode_call((Decimal("1"),), {}))


def test_strict_and_the_pickling_serializer_exclude_each_other() -> None:
    with pytest.raises(DBOSSerializationError, match="exclude each other"):
        Codec(strict=True, custom=DefaultSerializer())
    stored = Codec(custom=DefaultSerializer()).encode([1])
    assert loose.decode(stored) == [1]
    with pytest.raises(DBOSSerializationError, match="Refused to read a pickle"):
        strict.decode(stored)


def test_strict_may_have_a_serializer() -> None:
    codec = Codec(strict=True, custom=DBOSPortableJSONSerializer())
    assert codec.decode(codec.encode((1, 2))) == [1, 2]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("k", 1),
        FileNotFoundError(2, "gone", "/a"),
        StopIteration(3),
        OrderError(order=3),
        ReducedError(1, 2),
        DBOSMaxStepRetriesExceeded("s", 2, [ValueError("one"), OrderError(order=2)]),
    ],
    ids=repr,
)
def test_plain_exceptions_come_back_as_themselves_without_pickle(error: Exception) -> None:
    data = strict.encode_error(error)
    assert b"\n" not in data
    back = strict.decode_error(data)
    assert type(back) is type(error)
    assert (str(back), repr(back.args)) == (str(error), repr(error.args))
    assert repr(vars(back)) == repr(vars(error))


def test_attributes_that_are_no_json_are_left_out_and_said_so() -> None:
    back = strict.decode_error(strict.encode_error(OrderError(order=3, when=datetime(2024, 1, 1))))
    assert isinstance(back, OrderError)
    assert back.order == 3
    assert not hasattr(back, "when")
    assert back.__notes__ == ["Not stored with this exception: when"]  # type: ignore[attr-defined, unused-ignore]


def test_arguments_that_are_no_json_become_text() -> None:
    back = strict.decode_error(strict.encode_error(ValueError(Decimal("1.5"))))
    assert type(back) is ValueError
    assert str(back) == "1.5"


def test_pickled_exceptions_are_not_loaded() -> None:
    back = strict.decode_error(loose.encode_error(OrderError(order=3, when=datetime(2024, 1, 1))))
    assert isinstance(back, DBOSRemoteError)
    assert str(back) == "OrderError: order 3"
    assert "strict mode" in back.reason


def test_reading_never_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere.py").write_text("class Boom(Exception): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    data = b'e{"type":"Boom","module":"elsewhere","message":"m","data":{"args":[{"v":"m"}]}}'
    back = strict.decode_error(data)
    assert isinstance(back, DBOSRemoteError)
    assert "not imported" in back.reason
    assert "elsewhere" not in sys.modules
    back = loose.decode_error(data)
    assert type(back).__name__ == "Boom"
    monkeypatch.delitem(sys.modules, "elsewhere")


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "int"), ("sys", "modules")])
def test_only_exception_classes_are_built(module: str, name: str) -> None:
    data = b'e{"type":"%s","module":"%s","message":"m","data":{"args":[{"v":"1"}],"call":true}}'
    for codec in (strict, loose):
        assert isinstance(codec.decode_error(data % (name.encode(), module.encode())), DBOSRemoteError)
