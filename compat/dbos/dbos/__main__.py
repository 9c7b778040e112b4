"""`python -m dbos`: the command."""

from __future__ import annotations

from pyengine.cli.main import main

if __name__ == "__main__":
    main()
