"""`pyengine version`."""

from __future__ import annotations

import platform

from .. import schema as installer
from .._version import PROTOCOL, __version__
from ..schema.sources import load
from .console import print_json, say
from .options import JsonOption


def version(as_json: JsonOption = False) -> None:
    """Show the version of the engine, of the schema it installs and of the protocol it speaks."""
    shipped = load().version
    facts = {
        "version": __version__,
        "schema_version": shipped,
        "protocol": PROTOCOL,
        "oldest_protocol": installer.OLDEST_PROTOCOL,
        "python": platform.python_version(),
    }
    if as_json:
        print_json(facts)
    else:
        say(f"pyengine {__version__} (schema {shipped}, protocol {PROTOCOL}, Python {platform.python_version()})")
