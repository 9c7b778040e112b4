from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyengine import errors
from pyengine.errors import DBOSRemoteError, DBOSSerializationError
from pyengine.serialization import Codec
from pyengine.serialization.failures import MAX_TEXT

codec = Codec()


def travel(error: BaseException) -> Any:
    return codec.decode_error(codec.encode_error(error))


class PlainError(Exception):
    pass


class KeywordError(Exception):
    def __init__(self, *, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class DoublingError(Exception):
    def __init__(self, code: Any) -> None:
        super().__init__(f"code {code}")


class ReducedError(Exception):
    def __init__(self, left: int, right: datetime) -> None:
        super().__init__(f"{left}-{right}")
        self.pair = (left, right)

    def __reduce__(self) -> Any:
        return ReducedError, self.pair


class StubbornError(Exception):
    def __new__(cls, *, must: int) -> StubbornError:
        return super().__new__(cls)

    def __init__(self, *, must: int) -> None:
        super().__init__(f"must {must}")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ResponseError(Exception):
    def __init__(self, message: str, response: Any) -> None:
        super().__init__(message)
        self.status = 500
        self.response = response


class Exiting(SystemExit):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)
        self.second = second


@pytest.mark.parametrize(
    "error",
    [
        PlainError(),
        PlainError("a", 1, {"b": [2]}),
        PlainError(Decimal("1.5"), (1, 2)),
        PlainError("\ud800"),
        KeywordError(code=5, detail="no"),
        DoublingError(5),
        ReducedError(1, datetime(2024, 1, 1)),
        ZeroDivisionError("division by zero"),
        FileNotFoundError(2, "gone", "/a"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"),
        SyntaxError("bad", ("file", 1, 2, "text")),
        ImportError("no", name="n", path="p"),
        StopIteration(3),
        SystemExit(4),
        Exiting(4, 5),
        KeyboardInterrupt(),
        subprocess.CalledProcessError(1, ["ls", "-l"], b"out", b"err"),
        errors.DBOSUnexpectedStepError("w", 1, "a", "b"),
        errors.DBOSWorkflowCancelledError("stop"),
        errors.DBOSMaxStepRetriesExceeded("s", 2, [KeywordError(code=1, detail="x"), ValueError(Decimal(1))]),
        DBOSRemoteError("T", "m", "mod", "trace"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_come_back_as_themselves(error: BaseException) -> None:
    back = travel(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert repr(back.args) == repr(error.args)
    assert repr(vars(back)) == repr(vars(error))


@given(st.lists(st.none() | st.text(st.characters()) | st.integers() | st.floats() | st.binary() | st.datetimes()))
def test_arguments_come_back_exactly(args: list[Any]) -> None:
    back = travel(PlainError(*args))
    assert type(back) is PlainError
    assert repr(back.args) == repr(tuple(args))


def test_fields_of_builtin_exceptions_come_back() -> None:
    missing = travel(FileNotFoundError(2, "gone", "/a"))
    assert (missing.errno, missing.strerror, missing.filename) == (2, "gone", "/a")
    assert travel(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")).object == b"\xff"
    assert travel(Exiting(4, 5)).code == 4
    assert travel(ImportError("no", name="n")).name == "n"


def test_plain_exceptions_need_no_pickle() -> None:
    assert b"\n" not in codec.encode_error(KeywordError(code=5, detail="no"))
    assert b"\n" in codec.encode_error(PlainError(Decimal(1)))


def test_notes_come_back() -> None:
    error = PlainError("x")
    error.__notes__ = ["one", "two"]  # type: ignore[attr-defined, unused-ignore]
    assert travel(error).__notes__ == ["one", "two"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are new in Python 3.11")
def test_groups_come_back_and_keep_what_they_can() -> None:
    lock = ResponseError("r", threading.Lock())
    group = vars(builtins)["BaseExceptionGroup"](
        "all", [ValueError("v"), KeywordError(code=1, detail="d"), KeyboardInterrupt(), lock]
    )
    back = travel(group)
    assert type(back) is type(group)
    assert [type(item) for item in back.exceptions] == [type(item) for item in group.exceptions]
    assert back.message == "all"


def test_parts_that_cannot_travel_are_left_out_and_said_so() -> None:
    back = travel(ResponseError("failed", threading.Lock()))
    assert type(back).__name__ == "ResponseError"
    assert (str(back), back.status) == ("failed", 500)
    assert not hasattr(back, "response")
    assert back.__notes__ == ["Not stored with this exception: response"]


def test_attempts_that_cannot_travel_become_stand_ins() -> None:
    class Local(Exception):
        pass

    back = travel(errors.DBOSMaxStepRetriesExceeded("s", 2, [Local("x"), ValueError("y")]))
    assert type(back) is errors.DBOSMaxStepRetriesExceeded
    assert [type(item) for item in back.errors] == [DBOSRemoteError, ValueError]
    assert str(back.errors[0]).endswith("Local: x")


def test_local_class_comes_back_as_stand_in_with_its_traceback() -> None:
    class Local(Exception):
        pass

    with pytest.raises(Local) as caught:
        raise Local("boom")
    back = travel(caught.value)
    assert type(back) is DBOSRemoteError
    assert str(back).endswith("Local: boom")
    assert (back.module, back.message) == (__name__, "boom")
    assert 'raise Local("boom")' in back.traceback_text
    assert back.reason


@pytest.mark.parametrize("error", [StubbornError(must=1), UnprintableError("x")], ids=lambda e: type(e).__name__)
def test_difficult_exceptions_come_back_as_something(error: Exception) -> None:
    back = travel(error)
    assert isinstance(back, (DBOSRemoteError, type(error)))
    assert isinstance(codec.describe(codec.encode_error(error)), BaseException)


def test_circular_exceptions_come_back() -> None:
    error: Any = PlainError("x")
    error.itself = error
    back = travel(error)
    assert isinstance(back, PlainError)
    assert vars(back)["itself"] is back


def test_cause_is_kept_as_text_only() -> None:
    error = PlainError("x")
    error.__cause__ = ValueError("inner")
    data = codec.encode_error(error)
    assert b'"cause":"ValueError: inner"' in data
    assert codec.decode_error(data).__cause__ is None


def test_texts_are_capped() -> None:
    class Local(Exception):
        pass

    data = codec.encode_error(Local("x" * 1_000_000))
    assert len(data) < 3 * MAX_TEXT
    assert str(codec.decode_error(data)).endswith("[cut]")


def test_class_that_vanished_comes_back_as_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, pickled = codec.encode_error(PlainError("x")), codec.encode_error(PlainError(Decimal(1)))
    monkeypatch.delitem(globals(), "PlainError")
    for data, text in ((plain, "PlainError: x"), (pickled, "PlainError: 1")):
        back = codec.decode_error(data)
        assert type(back) is DBOSRemoteError
        assert str(back) == text
        assert "PlainError" in back.reason


@pytest.mark.parametrize("data", [b"e", b"e{", b"exyz\nabc", b"x", b""])
def test_damaged_exceptions_are_clear_errors(data: bytes) -> None:
    with pytest.raises(DBOSSerializationError):
        codec.decode_error(data)


def test_pydantic_errors_come_back() -> None:
    pydantic = pytest.importorskip("pydantic")
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("x")
    back = travel(caught.value)
    assert "valid integer" in str(back)
