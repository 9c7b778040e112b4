"""Payloads: Python values to bytes and back.

The first byte says how the rest is to be read, so every row is readable whatever the configuration was when it was
written: `j` JSON, `p` pickle, `e` exception, `c` a serializer's name, a line feed, and its text.
"""

from __future__ import annotations

import base64
import logging
from typing import Any, Final

from ..errors import DBOSRemoteError, DBOSSerializationError
from . import failures, pickling
from .lossless import call_to_json, from_json, to_json, unshared_json
from .portable import (
    DBOSPortableJSONSerializer,
    DefaultSerializer,
    Serializer,
    error_from_portable,
    error_to_portable,
)

_logger = logging.getLogger("dbos")

_NONE: Final = b"jnull"
_NO_ARGUMENTS: Final = b'j{"args":[],"kwargs":{}}'
_LOOK: Final = 50_000  # how much of a part is looked at for the sake of a message
_STRICT_ADVICE: Final = "Strict mode stores JSON only: None, bool, int, float, str, list, and dict with text keys."


class Codec:
    """How this process writes payloads; it reads what other configurations wrote as far as it has the means.

    `strict` refuses pickle both ways, so that whoever may write to the database cannot run code here.
    """

    def __init__(self, strict: bool = False, custom: Serializer | None = None) -> None:
        self.strict = strict
        self.custom = custom
        self._custom_name = _name(custom) if custom is not None else ""
        if strict and isinstance(custom, DefaultSerializer):
            raise DBOSSerializationError("The serializer py_pickle and strict mode exclude each other: choose one")
        # Readable without being configured.
        self._known: dict[str, Serializer] = {"portable_json": DBOSPortableJSONSerializer()}
        if not strict:
            self._known["py_pickle"] = DefaultSerializer()
        if custom is not None:
            self._known[self._custom_name] = custom

    def encode(self, value: Any) -> bytes:
        if self.custom is not None:
            return self._encode_custom(value)
        if value is None:
            return _NONE
        text = to_json(value)
        if text is not None:
            return b"j" + text
        return self._pickle(value)

    def decode(self, data: bytes | memoryview) -> Any:
        data = bytes(data)
        if data == _NONE:
            return None
        tag, body = data[:1], data[1:]
        try:
            if tag == b"j":
                return from_json(body)
            if tag == b"c":
                return self._decode_custom(body)
        except ValueError as error:
            raise DBOSSerializationError(f"A stored value is damaged: {error}") from error
        if tag == b"p":
            return self._unpickle(body)
        raise DBOSSerializationError(f"Cannot read a value of the unknown format {tag!r}: a newer engine stored it")

    def encode_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        if self.custom is not None:
            if isinstance(self.custom, DBOSPortableJSONSerializer):
                return self._encode_custom({"positionalArgs": list(args), "namedArgs": kwargs})
            return self._encode_custom({"args": args, "kwargs": kwargs})
        if not args and not kwargs:
            return _NO_ARGUMENTS
        text = call_to_json(args, kwargs)
        if text is not None:
            return b"j" + text
        return self._pickle({"args": list(args), "kwargs": kwargs})

    def decode_call(self, data: bytes | memoryview) -> tuple[tuple[Any, ...], dict[str, Any]]:
        data = bytes(data)
        if data == _NO_ARGUMENTS:
            return (), {}
        call = self.decode(data)
        try:
            if "positionalArgs" in call or "namedArgs" in call:
                return tuple(call.get("positionalArgs") or ()), dict(call.get("namedArgs") or {})
            return tuple(call["args"]), dict(call["kwargs"])
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DBOSSerializationError(
                f"Stored arguments must hold 'args' and 'kwargs'; this is a {pickling.type_name(call)}"
            ) from error

    def encode_error(self, exc: BaseException) -> bytes:
        if self.custom is not None:
            stored = self._encode_error_custom(exc)
            if stored is not None:
                return stored
        return b"e" + failures.encode(exc, strict=self.strict)

    def decode_error(self, data: bytes | memoryview) -> BaseException:
        data = bytes(data)
        if data[:1] == b"e":
            try:
                return failures.decode(data[1:], strict=self.strict)
            except ValueError as error:
                raise DBOSSerializationError(f"A stored exception is damaged: {error}") from error
        value = self.decode(data)
        if isinstance(value, BaseException):
            return value
        return error_from_portable(value)

    def describe(self, data: bytes | memoryview | None) -> Any:
        """A payload for somebody who looks on: what cannot be read is given as stored text, with a warning."""
        if data is None:
            return None
        data = bytes(data)
        try:
            return self.decode_error(data) if data[:1] == b"e" else self.decode(data)
        except DBOSSerializationError as error:
            _logger.warning("Showing a payload as it is stored: %s", error.message)
        if data[:1] == b"p":
            return base64.b64encode(data[1:]).decode("ascii")
        return data[1:].decode("utf-8", "replace")

    def _pickle(self, value: Any) -> bytes:
        if self.strict:
            text = unshared_json(value)
            if text is not None:
                return b"j" + text
            raise DBOSSerializationError(f"Cannot store {_what(value)}: it is not plain JSON. {_STRICT_ADVICE}")
        return b"p" + pickling.encode(value)

    def _unpickle(self, body: bytes) -> Any:
        if self.strict:
            name = pickling.outermost_type(body)
            raise DBOSSerializationError(
                f"Refused to read a pickle{f' of {name}' if name else ''}: strict mode is on here, and was not where "
                "the value was stored"
            )
        return pickling.decode(body)

    def _encode_custom(self, value: Any) -> bytes:
        assert self.custom is not None
        try:
            text = self.custom.serialize(value)
        except Exception as error:
            raise DBOSSerializationError(
                f"The serializer {self._custom_name} cannot store a {pickling.type_name(value)}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(text, str):
            raise DBOSSerializationError(
                f"The serializer {self._custom_name} returned a {pickling.type_name(text)}; it must return str"
            )
        return b"c" + f"{self._custom_name}\n{text}".encode("utf-8", "surrogatepass")

    def _decode_custom(self, body: bytes) -> Any:
        name, _, text = body.decode("utf-8", "surrogatepass").partition("\n")
        serializer = self._known.get(name)
        if serializer is None and name == "py_pickle":
            raise DBOSSerializationError("Refused to read a pickle: strict mode is on here")
        if serializer is None:
            raise DBOSSerializationError(
                f"A stored value needs the serializer {name!r}; configure it with the key `serializer`"
            )
        try:
            return serializer.deserialize(text)
        except Exception as error:
            raise DBOSSerializationError(
                f"The serializer {name} cannot read a stored value: {type(error).__name__}: {error}"
            ) from error

    def _encode_error_custom(self, exc: BaseException) -> bytes | None:
        """`exc`, else its stand-in, as the user's serializer writes it (it may encrypt); None where it can do neither.

        Many serializers take only data, and some turn into text what they do not know: the result must be an
        exception again to count.
        """
        if isinstance(self.custom, DBOSPortableJSONSerializer):
            return self._encode_custom(error_to_portable(exc))
        for candidate in (exc, DBOSRemoteError(type(exc).__qualname__, str(exc), type(exc).__module__)):
            try:
                stored = self._encode_custom(candidate)
                if type(self.decode(stored)) is type(candidate):
                    return stored
            except DBOSSerializationError:
                continue
        return None


def _name(serializer: Serializer) -> str:
    # Serializers written for earlier engines may have no name.
    name = serializer.name() if hasattr(serializer, "name") else type(serializer).__name__
    if not isinstance(name, str) or not name or "\n" in name:
        raise DBOSSerializationError(f"A serializer's name must be one line of text, not {name!r}")
    return name


def _what(value: Any, depth: int = 8) -> str:
    """The first part of `value` that JSON would not bring back, for a message."""
    if depth and type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                return f"a dict with the key {key!r}"
            if unshared_json(item, _LOOK) is None:
                return f"{_what(item, depth - 1)} (under {key!r})"
    if depth and type(value) in (list, tuple):
        for index, item in enumerate(value):
            if unshared_json(item, _LOOK) is None:
                return f"{_what(item, depth - 1)} (at [{index}])"
    if type(value) is float:
        return f"the float {value}"
    if type(value) is str:
        return "a str with a lone surrogate"
    if type(value) is int:
        return "an int with more digits than Python reads back"
    return f"a {pickling.type_name(value)}"
