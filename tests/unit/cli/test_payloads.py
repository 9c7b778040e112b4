"""Stored values on the command line: plain data is shown, nothing of a program is run."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pytest

from pyengine.cli import console, payloads
from pyengine.serialization import Codec


class Explosive:
    def __reduce__(self) -> Any:
        return print, ("boom",)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, 2.5, "three", None, True]},
        (1, 2),
        {1, 2},
        datetime.datetime(2025, 1, 31, tzinfo=datetime.timezone.utc),
        decimal.Decimal("1.10"),
        uuid.UUID(int=7),
        b"bytes",
    ],
)
def test_plain_values_are_shown_as_they_are(value: object) -> None:
    assert payloads.read(Codec().encode(value)) == value


def test_nothing_of_a_pickle_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = payloads.read(Codec().encode(Explosive()))

    assert shown.startswith("<builtins.print, ")
    assert capsys.readouterr().out == ""


def test_an_exception_is_its_type_and_message() -> None:
    assert payloads.read_error(Codec().encode_error(ValueError("too late"))) == "ValueError: too late"
    assert payloads.read_error(None) is None


def test_a_format_of_the_future_is_not_guessed_at() -> None:
    assert payloads.read(b"z123") == "<unknown format, 3 bytes>"


def test_stored_text_does_not_steer_the_terminal() -> None:
    assert console.printable("\x1b[2Jgone\n") == "\\x1b[2Jgone\\n"
    assert console.printable("größer 中文") == "größer 中文"
