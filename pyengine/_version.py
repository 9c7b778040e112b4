"""The engine's own version and the protocol it speaks with the schema."""

from __future__ import annotations

__version__ = "0.1.0"

# What this engine expects of the functions it calls. The schema records the oldest protocol it still serves.
PROTOCOL = 1
