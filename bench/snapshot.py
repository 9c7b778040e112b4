"""A snapshot that somebody holds: what is gone cannot be removed."""

from __future__ import annotations

from typing import Any

import psycopg


class Snapshot:
    """Of somebody who has nothing to do with the engine."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._holder: Any = None

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *error: object) -> None:
        self.hold(False)

    def hold(self, wanted: bool) -> None:
        """Take it, or let go of it; neither, when that is how it is."""
        if wanted and self._holder is None:
            self._holder = psycopg.connect(self._url)
            self._holder.execute("set transaction isolation level repeatable read")
            self._holder.execute("select pg_current_snapshot()")
        elif not wanted and self._holder is not None:
            self._holder.close()
            self._holder = None
