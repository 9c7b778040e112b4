"""A workflow on a schedule: every second here, once per tick however many processes run this program.

Ctrl-C ends it.
"""

import threading
from datetime import datetime

from pyengine import DBOS

DBOS()


@DBOS.scheduled("* * * * * *")  # seconds first; five fields begin with the minute
@DBOS.workflow()
def look_at_the_clock(scheduled_at: datetime, started_at: datetime) -> None:
    print(f"It is {scheduled_at}.", flush=True)


if __name__ == "__main__":
    DBOS.launch()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        DBOS.destroy()
