"""How a mirror of a SQL function takes its arguments."""

from __future__ import annotations

import pytest

from pyengine.db.function import Function

TWO: Function[str] = Function("two", "first text, second bigint")
ONE: Function[str] = Function("one", "only text[]")
NONE: Function[str] = Function("none", "")


def test_arguments_come_in_the_order_of_the_signature() -> None:
    assert TWO.bind({"second": 2, "first": "a"}) == ("a", 2)
    assert ONE.bind({"only": ["a", "b"]}) == (["a", "b"],)
    assert NONE.bind({}) == ()


def test_what_is_bound_is_not_changed() -> None:
    given = {"first": "a", "second": 2}
    TWO.bind(given)
    assert given == {"first": "a", "second": 2}


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(TypeError, match=r"two\(\) has no argument 'fourth', 'third'"):
        TWO.bind({"first": "a", "second": 2, "third": 3, "fourth": 4})


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(KeyError, match="second"):
        TWO.bind({"first": "a"})
