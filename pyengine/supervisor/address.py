"""Where a worker answers probes."""

from __future__ import annotations


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, [HOST]:PORT or :PORT; an empty host means all of this machine's. Raises ValueError."""
    host, separator, port = text.strip().rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8090 or :8090")
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare and bare == host:
        raise ValueError(f"{text!r}: an IPv6 address is written in brackets, as in [::1]:8090")
    return bare, int(port)
