"""pyengine: durable execution for Python on nothing but Postgres. What is not exported here may change."""

from __future__ import annotations

from . import error
from ._version import __version__
from .api._contexts import (
    DBOSContextEnsure,
    DBOSContextSetAuth,
    SetEnqueueOptions,
    SetWorkflowAttributes,
    SetWorkflowID,
    SetWorkflowTimeout,
)
from .api._dbos import DBOS
from .api._handles import WorkflowHandle, WorkflowHandleAsync
from .api._queue import Queue, QueueRateLimit
from .api._status import StepInfo, WorkflowStatus, WorkflowStatusString
from .config import ConfigFile, DBOSConfig, get_dbos_database_url, load_config
from .runtime.context import StepStatus
from .serialization import (
    DBOSPortableJSONSerializer,
    DefaultSerializer,
    PortableWorkflowError,
    Serializer,
    WorkflowSerializationFormat,
)

__all__ = [
    "DBOS",
    "ConfigFile",
    "DBOSConfig",
    "DBOSContextEnsure",
    "DBOSContextSetAuth",
    "DBOSPortableJSONSerializer",
    "DefaultSerializer",
    "PortableWorkflowError",
    "Queue",
    "QueueRateLimit",
    "Serializer",
    "SetEnqueueOptions",
    "SetWorkflowAttributes",
    "SetWorkflowID",
    "SetWorkflowTimeout",
    "StepInfo",
    "StepStatus",
    "WorkflowHandle",
    "WorkflowHandleAsync",
    "WorkflowSerializationFormat",
    "WorkflowStatus",
    "WorkflowStatusString",
    "__version__",
    "error",
    "get_dbos_database_url",
    "load_config",
]
