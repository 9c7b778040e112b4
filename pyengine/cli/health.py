"""`pyengine health`: asks the worker of this host how it is, for probes that have to be commands."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated, Any, Optional

import typer

from .console import CommandError, print_json, say
from .exit_codes import ExitCode
from .options import JsonOption

HEALTH_VARIABLE = "PYENGINE_HEALTH"
# What listens on all addresses is asked at the nearest.
_NEAREST = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


def checked_address(text: str | None) -> str | None:
    from ..supervisor.address import parse_address

    if text is None:
        return None
    try:
        parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def health(
    address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="HOST:PORT",
            envvar=HEALTH_VARIABLE,
            callback=checked_address,
            help="As the worker's --health.",
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask whether it is alive, not whether it is ready.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="How long to wait.")] = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Ask a worker whether it is ready to work, by default; exit code 0 if so."""
    if address is None:
        raise typer.BadParameter(f"give the worker's --health HOST:PORT, or set {HEALTH_VARIABLE}")
    question = "live" if live else "ready"
    is_well, told = _ask(address, question, timeout)
    if as_json:
        print_json(told)
    else:
        say("; ".join([question if is_well else f"not {question}", *told["problems"]]))
    if not is_well:
        raise typer.Exit(int(ExitCode.FAILURE))


def _ask(address: str, question: str, timeout: float) -> tuple[bool, dict[str, Any]]:
    from ..supervisor.address import parse_address

    host, port = parse_address(address)
    where = _NEAREST.get(host, f"[{host}]" if ":" in host else host)
    # Not through the proxy that the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{where}:{port}/{question}", timeout=timeout) as answer:
            return True, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 503:
                return False, json.load(error)
        raise CommandError(f"{address} is no worker's: it answered {error.code}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise CommandError(f"no worker answers at {address}: {reason}") from error
