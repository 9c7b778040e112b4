"""How values are stored."""

from __future__ import annotations

from .codec import Codec
from .portable import (
    DBOSPortableJSONSerializer,
    DefaultSerializer,
    PortableWorkflowError,
    Serializer,
    WorkflowSerializationFormat,
)

__all__ = [
    "Codec",
    "DBOSPortableJSONSerializer",
    "DefaultSerializer",
    "PortableWorkflowError",
    "Serializer",
    "WorkflowSerializationFormat",
]
