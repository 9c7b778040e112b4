"""What the exit status of an executor process tells the parent."""

from __future__ import annotations

OK = 0
# The schema serves only newer engines: see api/_engine.py
NOT_SERVED = 3
# It could not start now, but may later: Postgres did not answer
LATER = 75
# It could not start as it is: an error in the module or the configuration
UNUSABLE = 78
