"""`python -m bench NAME`: measure, print a table, and write it to `bench/results/NAME.json`."""

from __future__ import annotations

import typer

from bench.compare import compare
from bench.readme import readme
from bench.soak import soak
from bench.takeover import takeover

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Each measurement says what it aims at, on which machine it ran and with which settings."""


app.command()(compare)
app.command()(readme)
app.command()(soak)
app.command()(takeover)

if __name__ == "__main__":
    app()
