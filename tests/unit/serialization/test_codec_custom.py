from __future__ import annotations

import json
import pickle
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from pyengine.errors import DBOSRemoteError, DBOSSerializationError
from pyengine.serialization import (
    Codec,
    DBOSPortableJSONSerializer,
    DefaultSerializer,
    PortableWorkflowError,
    Serializer,
    WorkflowSerializationFormat,
)


class Sealed(Serializer):
    """As an encrypting serializer would: takes everything, shows nothing."""

    def serialize(self, data: Any) -> str:
        return pickle.dumps(data)[::-1].hex()

    def deserialize(self, serialized_data: str) -> Any:
        return pickle.loads(bytes.fromhex(serialized_data)[::-1])

    def name(self) -> str:
        return "sealed"


class Nameless:
    """Written for an earlier engine, without a name and without the base class."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=str)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)


class PlainError(Exception):
    pass


sealed = Codec(custom=Sealed())
nameless = Codec(custom=Nameless())  # type: ignore[arg-type]
portable = Codec(custom=DBOSPortableJSONSerializer())


@pytest.mark.parametrize("value", [None, 1, {"a": (1, Decimal(2))}, "secret"])
def test_values_and_calls_go_through_the_serializer(value: Any) -> None:
    data = sealed.encode(value)
    assert data.startswith(b"csealed\n")
    assert b"secret" not in data
    assert sealed.decode(data) == value
    call = sealed.encode_call((value,), {"k": value})
    assert call.startswith(b"csealed\n")
    assert sealed.decode_call(call) == ((value,), {"k": value})


def test_exceptions_go_through_the_serializer_or_their_stand_in_does() -> None:
    class Local(Exception):
        pass

    data = sealed.encode_error(PlainError("secret"))
    assert b"secret" not in data
    assert type(sealed.decode_error(data)) is PlainError
    data = sealed.encode_error(Local("secret"))
    assert b"secret" not in data
    back = sealed.decode_error(data)
    assert isinstance(back, DBOSRemoteError)
    assert str(back).endswith("Local: secret")


def test_exceptions_a_serializer_would_flatten_are_stored_by_the_engine() -> None:
    data = nameless.encode_error(PlainError("x"))
    assert data[:1] == b"e"
    assert type(nameless.decode_error(data)) is PlainError


def test_serializers_of_earlier_engines_work_without_name() -> None:
    assert nameless.encode([1]).startswith(b"cNameless\n")
    assert nameless.decode_call(nameless.encode_call((1,), {"a": 2})) == ((1,), {"a": 2})


def test_what_was_stored_without_the_serializer_stays_readable() -> None:
    assert sealed.decode(Codec().encode((1, 2))) == (1, 2)
    assert Codec().decode(Codec(custom=DefaultSerializer()).encode((1, 2))) == (1, 2)


def test_a_missing_serializer_is_named() -> None:
    with pytest.raises(DBOSSerializationError, match="needs the serializer 'sealed'"):
        Codec().decode(sealed.encode(1))


def test_failures_of_a_serializer_are_clear() -> None:
    with pytest.raises(DBOSSerializationError, match="serializer portable_json cannot store a object"):
        portable.encode(object())
    with pytest.raises(DBOSSerializationError, match="serializer portable_json cannot read"):
        portable.decode(b"cportable_json\n{")

    class Bytes(Sealed):
        def serialize(self, data: Any) -> Any:
            return b"x"

    with pytest.raises(DBOSSerializationError, match="must return str"):
        Codec(custom=Bytes()).encode(1)


@pytest.mark.parametrize("name", ["", "two\nlines", None])
def test_a_name_is_one_line(name: Any) -> None:
    class Named(Sealed):
        def name(self) -> Any:
            return name

    with pytest.raises(DBOSSerializationError, match="one line of text"):
        Codec(custom=Named())


def test_portable_json_keeps_meaning() -> None:
    value = {
        "zoned": datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        "naive": datetime(2024, 1, 2, 3, 4, 5),
        "day": date(2024, 1, 2),
        "price": Decimal("1.50"),
        "pair": (1, 2),
        "set": {3},
    }
    data = portable.encode(value)
    assert json.loads(data.partition(b"\n")[2]) == portable.decode(data)
    assert portable.decode(data) == {
        "zoned": "2024-01-02T01:04:05Z",
        "naive": "2024-01-02T03:04:05Z",
        "day": "2024-01-02",
        "price": "1.50",
        "pair": [1, 2],
        "set": [3],
    }


@pytest.mark.parametrize(("value", "named"), [({1: 2}, "the key 1"), ([object()], r"value\[0\], a object")])
def test_portable_json_names_what_it_cannot_hold(value: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        DBOSPortableJSONSerializer().serialize(value)


def test_portable_calls_and_errors_have_the_shape_other_languages_know() -> None:
    call = portable.encode_call((1,), {"a": 2})
    assert json.loads(call.partition(b"\n")[2]) == {"positionalArgs": [1], "namedArgs": {"a": 2}}
    assert portable.decode_call(call) == ((1,), {"a": 2})
    error = portable.encode_error(ValueError("bad"))
    assert json.loads(error.partition(b"\n")[2]) == {"name": "ValueError", "message": "bad"}
    back = Codec().decode_error(error)
    assert isinstance(back, PortableWorkflowError)
    assert (str(back), back.name) == ("bad", "ValueError")
    again = portable.decode_error(portable.encode_error(PortableWorkflowError("m", "N", 3, {"d": [1]})))
    assert isinstance(again, PortableWorkflowError)
    assert (again.message, again.name, again.code, again.data) == ("m", "N", 3, {"d": [1]})
    assert type(pickle.loads(pickle.dumps(again))) is PortableWorkflowError


def test_public_names() -> None:
    assert [item.value for item in WorkflowSerializationFormat] == ["default", "native", "portable"]
    assert isinstance(Sealed(), Serializer)
    assert DefaultSerializer().deserialize(DefaultSerializer().serialize((1, 2))) == (1, 2)
    assert (DefaultSerializer().name(), DBOSPortableJSONSerializer().name()) == ("py_pickle", "portable_json")
