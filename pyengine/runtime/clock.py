"""The database's clock as this process knows it: for planning only. Whether something is due, the database
decides.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta


class ServerClock:
    def __init__(self, server_time: datetime) -> None:
        self.set(server_time)

    def set(self, server_time: datetime) -> None:
        self._known = (server_time, time.monotonic())

    def now(self) -> datetime:
        server_time, at = self._known
        return server_time + timedelta(seconds=time.monotonic() - at)
