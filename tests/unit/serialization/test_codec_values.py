from __future__ import annotations

import enum
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyengine.errors import DBOSSerializationError
from pyengine.serialization import Codec
from pyengine.serialization.lossless import MAX_DEPTH

codec = Codec()

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)
RICH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.datetimes()
    | st.decimals(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=4)
    ),
    max_leaves=20,
)


class Colour(str, enum.Enum):
    RED = "red"


class Count(int):
    pass


@dataclass
class Point:
    x: int
    y: Any


def exactly(left: Any, right: Any) -> bool:
    """Equality that tells True from 1, 1 from 1.0 and -0.0 from 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(exactly, left, right))
    if isinstance(left, dict):
        return exactly(list(left.items()), list(right.items()))
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@given(PLAIN)
def test_plain_data_is_json_and_comes_back_exactly(value: Any) -> None:
    data = codec.encode(value)
    assert data[:1] == b"j"
    assert exactly(codec.decode(data), value)


@given(RICH)
def test_any_data_comes_back_exactly(value: Any) -> None:
    data = codec.encode(value)
    assert data[:1] in (b"j", b"p")
    assert exactly(codec.decode(data), value)


@given(st.lists(RICH, max_size=3), st.dictionaries(st.text(), RICH, max_size=3))
def test_calls_come_back_exactly(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert exactly(codec.decode_call(codec.encode_call(tuple(args), kwargs)), (tuple(args), kwargs))


@pytest.mark.parametrize("value", [None, True, False, 0, 1, -1, 10**300, 0.5, -0.0, "", "é\u2028\0", [], {}, [[], {}]])
def test_json_is_what_is_stored_for_plain_values(value: Any) -> None:
    assert codec.encode(value)[:1] == b"j"
    assert exactly(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        float("inf"),
        (1, 2),
        {1: 2},
        {True: 1},
        {None: 1},
        {"a": {1}},
        b"bytes",
        "\ud800",
        ["\ud83d\ude00"],
        {"\udc80": 1},
        Colour.RED,
        [Colour.RED],
        {Colour.RED: 1},
        Count(3),
        OrderedDict(a=1),
        datetime(2024, 1, 2, tzinfo=timezone.utc),
        Decimal("1.50"),
        Point(1, [2]),
    ],
    ids=ascii,
)
def test_what_json_would_change_is_pickled(value: Any) -> None:
    data = codec.encode(value)
    assert data[:1] == b"p"
    assert exactly(codec.decode(data), value)
    assert codec.encode([value])[:1] == b"p"
    assert codec.encode({"k": [{"k": value}]})[:1] == b"p"


def test_integers_beyond_the_digit_limit_come_back() -> None:
    assert codec.decode(codec.encode([10**5000])) == [10**5000]


def test_nan_is_pickled() -> None:
    assert math.isnan(codec.decode(codec.encode(float("nan"))))


def test_shared_and_circular_containers_keep_their_identity() -> None:
    shared: list[Any] = [1]
    back = codec.decode(codec.encode({"a": shared, "b": [shared]}))
    assert back["a"] is back["b"][0]
    shared.append(shared)
    circle = codec.decode(codec.encode(shared))
    assert circle[1] is circle


def test_sharing_on_many_levels_does_not_explode() -> None:
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    assert len(codec.encode(value)) < 2000


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_depth_decides_between_json_and_pickle(depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    data = codec.encode(value)
    assert data[:1] == (b"j" if depth < MAX_DEPTH else b"p")
    assert codec.decode(data) == value


def test_depth_beyond_everything_is_a_clear_error() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(DBOSSerializationError, match="Cannot store a list"):
        codec.encode(value)


def test_no_arguments() -> None:
    assert codec.encode_call((), {}) == b'j{"args":[],"kwargs":{}}'
    assert codec.decode_call(codec.encode_call((), {})) == ((), {})


def test_calls_with_rich_arguments_keep_the_tuple() -> None:
    assert codec.decode_call(codec.encode_call(((1, 2), Decimal(1)), {"p": Point(1, 2)})) == (
        ((1, 2), Decimal(1)),
        {"p": Point(1, 2)},
    )


def test_unpicklable_value_names_type_path_and_remedy() -> None:
    with pytest.raises(DBOSSerializationError) as caught:
        codec.encode({"rows": [Point(1, 2), Point(1, (threading.Lock(),))]})
    assert "Cannot store a _thread.lock (at value['rows'][1].y[0] of a dict)" in str(caught.value)
    assert "open files, connections" in str(caught.value)


def test_local_function_is_a_clear_error() -> None:
    with pytest.raises(DBOSSerializationError, match="Cannot store a function"):
        codec.encode(lambda: 1)


class PickyError(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


def test_exceptions_among_values_come_back_whatever_their_constructor_takes() -> None:
    back = codec.decode(codec.encode({"results": (1, PickyError(code=5))}))
    error = back["results"][1]
    assert type(error) is PickyError
    assert (error.code, str(error)) == (5, "code 5")


@pytest.mark.parametrize("data", [b"", b"x123", b"j{", b"j\xff", b"pgarbage", b"cnobody\ntext"])
def test_unreadable_payloads_are_clear_errors(data: bytes) -> None:
    with pytest.raises(DBOSSerializationError):
        codec.decode(data)
    with pytest.raises(DBOSSerializationError):
        codec.decode_call(data)


@pytest.mark.parametrize("data", [b"j1", b"j[]", b'j{"args":[]}', b'j{"args":1,"kwargs":{}}'])
def test_stored_values_that_are_no_call_are_clear_errors(data: bytes) -> None:
    with pytest.raises(DBOSSerializationError, match="must hold 'args' and 'kwargs'"):
        codec.decode_call(data)


def test_pickle_of_a_vanished_class_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.encode(Point(1, 2))
    monkeypatch.delitem(globals(), "Point")
    with pytest.raises(DBOSSerializationError, match=r"type \S*test_codec_values\.Point"):
        codec.decode(data)


def test_payloads_may_be_memoryviews() -> None:
    assert codec.decode(memoryview(codec.encode([1]))) == [1]
    assert codec.decode_call(memoryview(codec.encode_call((1,), {}))) == ((1,), {})


def test_describe_shows_what_it_cannot_read_as_stored(caplog: pytest.LogCaptureFixture) -> None:
    assert codec.describe(None) is None
    assert codec.describe(codec.encode({"a": 1})) == {"a": 1}
    assert isinstance(codec.describe(codec.encode_error(KeyError("k"))), KeyError)
    assert not caplog.records
    assert codec.describe(b"cnobody\ntext") == "nobody\ntext"
    assert codec.describe(b"p\x80\x05garbage") == "gAVnYXJiYWdl"
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
