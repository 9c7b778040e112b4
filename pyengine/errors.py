"""Every exception the engine raises, with the names and codes users of any era catch.

All of them travel between processes: whatever a subclass does in its `__init__`, unpickling restores `args` and
attributes without running it again.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any


def rebuild_exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception with these `args` without running an `__init__` written in Python.

    Such an `__init__` rarely accepts `args` again (it formatted them), which is why most hand-written exceptions do
    not survive plain pickling. The nearest built-in one does accept them, and fills fields such as `errno` or `value`.
    """
    exc = cls.__new__(cls, *args)
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if init is not None and issubclass(base, BaseException) and not isinstance(init, FunctionType):
            init(exc, *args)
            break
    return exc


class CodedError(BaseException):
    """What engine errors share: a message and a code. Not raised itself."""

    message: str = ""
    dbos_error_code: int | None = None

    def __init__(self, message: str = "", dbos_error_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if dbos_error_code is not None:
            self.dbos_error_code = dbos_error_code

    def __str__(self) -> str:
        text = self.message or super().__str__()
        return text if self.dbos_error_code is None else f"DBOS Error {self.dbos_error_code}: {text}"

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_exception, (type(self), self.args), dict(self.__dict__)


class DBOSException(CodedError, Exception):
    """The base of the engine's errors."""


class DBOSBaseException(CodedError):
    """The base of errors that `except Exception` in user code must not swallow: the run they end is over."""


class DBOSWorkflowConflictIDError(DBOSBaseException):
    """Another execution of this workflow owns it; the one that sees this gives way."""

    dbos_error_code = 1

    def __init__(self, workflow_id: str, message: str | None = None) -> None:
        super().__init__(message or f"Workflow {workflow_id} is being executed elsewhere")
        self.workflow_id = workflow_id


class DBOSRecoveryError(DBOSException):
    dbos_error_code = 2

    def __init__(self, workflow_id: str, message: str | None = None) -> None:
        super().__init__(message or f"Workflow {workflow_id} could not be recovered")
        self.workflow_id = workflow_id


class DBOSInitializationError(DBOSException):
    """The engine cannot start as it is configured."""

    dbos_error_code = 3

    def __init__(self, message: str = "The engine could not be initialized") -> None:
        super().__init__(message)


class DBOSWorkflowFunctionNotFoundError(DBOSException):
    """The workflow is stored under a name nothing in this process is registered for."""

    dbos_error_code = 4

    def __init__(self, workflow_id: str, message: str | None = None) -> None:
        super().__init__(message or f"The function of workflow {workflow_id} is not registered in this process")
        self.workflow_id = workflow_id


class DBOSNonExistentWorkflowError(DBOSException):
    dbos_error_code = 5

    def __init__(
        self, workflow_id: str | None = None, message: str | None = None, *, destination_id: str | None = None
    ) -> None:
        self.workflow_id = workflow_id if workflow_id is not None else destination_id
        self.destination_id = self.workflow_id
        super().__init__(message or f"No workflow has the ID {self.workflow_id}")


class MaxRecoveryAttemptsExceededError(DBOSException):
    """The workflow crashed its process too often and is set aside."""

    dbos_error_code = 6

    def __init__(self, workflow_id: str, max_retries: int | None = None, message: str | None = None) -> None:
        limit = "" if max_retries is None else f" ({max_retries})"
        super().__init__(message or f"Workflow {workflow_id} has exceeded its maximum of recovery attempts{limit}")
        self.workflow_id = workflow_id
        self.max_retries = max_retries


class DBOSDuplicateWorkflowEventError(DBOSException):
    """Never raised here: setting an event again replaces it. Kept, with its code of then, for old `except` clauses."""

    dbos_error_code = 6

    def __init__(self, workflow_id: str, key: str) -> None:
        super().__init__(f"Workflow {workflow_id} has already set the event {key!r}")
        self.workflow_id = workflow_id
        self.key = key


class DBOSMaxStepRetriesExceeded(DBOSException):
    """Every attempt of a step failed; `errors` holds what each of them raised."""

    dbos_error_code = 7

    def __init__(self, step_name: str, max_retries: int, errors: list[Exception] | None = None) -> None:
        super().__init__(f"Step {step_name} has exceeded its maximum of {max_retries} attempts")
        self.step_name = step_name
        self.max_retries = max_retries
        self.errors = list(errors or [])


class DBOSNotAuthorizedError(DBOSException):
    dbos_error_code = 8

    def __init__(self, message: str = "Not authorized") -> None:
        super().__init__(message)


class DBOSConflictingWorkflowError(DBOSException):
    """The workflow ID is taken by another function, class or instance."""

    dbos_error_code = 9

    def __init__(self, workflow_id: str, message: str | None = None) -> None:
        detail = f": {message}" if message else ""
        super().__init__(f"Workflow ID {workflow_id} belongs to a different workflow{detail}")
        self.workflow_id = workflow_id


class DBOSWorkflowCancelledError(DBOSBaseException):
    """Raised inside a cancelled workflow at its next engine call."""

    dbos_error_code = 10

    def __init__(self, message: str = "The workflow was cancelled", workflow_id: str | None = None) -> None:
        super().__init__(message)
        self.workflow_id = workflow_id


class DBOSUnexpectedStepError(DBOSException):
    """A replay reached another step than the one recorded: the workflow is not deterministic, or its code changed."""

    dbos_error_code = 11

    def __init__(self, workflow_id: str, step_id: int, expected_name: str, recorded_name: str) -> None:
        super().__init__(
            f"Step {step_id} of workflow {workflow_id} is {expected_name!r} in this run, but {recorded_name!r} was "
            "recorded. Is the workflow deterministic, and was its code changed while it ran?"
        )
        self.workflow_id = workflow_id
        self.step_id = step_id
        self.expected_name = expected_name
        self.recorded_name = recorded_name


class DBOSQueueDeduplicatedError(DBOSException):
    dbos_error_code = 12

    def __init__(self, workflow_id: str, queue_name: str, deduplication_id: str) -> None:
        super().__init__(
            f"Workflow {workflow_id} was not enqueued: queue {queue_name} already holds one with the deduplication ID "
            f"{deduplication_id}"
        )
        self.workflow_id = workflow_id
        self.queue_name = queue_name
        self.deduplication_id = deduplication_id


class DBOSAwaitedWorkflowCancelledError(DBOSException):
    """The workflow whose result was awaited is cancelled."""

    dbos_error_code = 13

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"Awaited workflow {workflow_id} was cancelled")
        self.workflow_id = workflow_id


class DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded(DBOSException):
    """The workflow whose result was awaited is set aside after too many crashes."""

    dbos_error_code = 14

    def __init__(self, workflow_id: str, max_retries: int | None = None) -> None:
        limit = "" if max_retries is None else f" ({max_retries})"
        super().__init__(f"Awaited workflow {workflow_id} has exceeded its maximum of recovery attempts{limit}")
        self.workflow_id = workflow_id
        self.max_retries = max_retries


class DBOSPatchNondeterminismError(DBOSException):
    dbos_error_code = 15

    def __init__(self, workflow_id: str, patch_name: str | None = None, message: str | None = None) -> None:
        super().__init__(message or f"Patch {patch_name!r} of workflow {workflow_id} was interleaved with other tasks")
        self.workflow_id = workflow_id
        self.patch_name = patch_name


class DBOSStreamTimeoutError(DBOSException):
    dbos_error_code = 16

    def __init__(self, workflow_id: str, key: str, timeout_seconds: float | None = None) -> None:
        waited = "in time" if timeout_seconds is None else f"within {timeout_seconds} s"
        super().__init__(f"Stream {key!r} of workflow {workflow_id} had no further value {waited}")
        self.workflow_id = workflow_id
        self.key = key
        self.timeout_seconds = timeout_seconds


class DBOSStreamNondeterminismError(DBOSException):
    dbos_error_code = 17

    def __init__(self, workflow_id: str, key: str | None = None, message: str | None = None) -> None:
        super().__init__(message or f"Overlapping reads of stream {key!r} in workflow {workflow_id}")
        self.workflow_id = workflow_id
        self.key = key


class DBOSStepTimeoutError(DBOSException):
    dbos_error_code = 18

    def __init__(self, step_name: str, timeout_seconds: float | None = None) -> None:
        limit = "its time limit" if timeout_seconds is None else f"{timeout_seconds} s"
        super().__init__(f"Step {step_name} did not finish within {limit}")
        self.step_name = step_name
        self.timeout_seconds = timeout_seconds


class DBOSConflictingRegistrationError(DBOSException):
    """Two functions are registered under one name."""

    dbos_error_code = 25

    def __init__(self, name: str, message: str | None = None) -> None:
        super().__init__(message or f"Another function is already registered as {name}")
        self.name = name


class DBOSQueryTimeoutError(DBOSException):
    dbos_error_code = 26

    def __init__(self, message: str = "The query took too long and was stopped") -> None:
        super().__init__(message)


class DBOSWorkflowIDInUseError(DBOSException):
    """The workflow ID exists and the caller asked for a new one (`reject`)."""

    dbos_error_code = 27

    def __init__(self, workflow_id: str, message: str | None = None) -> None:
        super().__init__(message or f"Workflow ID {workflow_id} is in use")
        self.workflow_id = workflow_id


class DBOSStepNondeterminismError(DBOSException):
    """One execution used the same step ID twice."""

    dbos_error_code = 28

    def __init__(self, workflow_id: str, step_id: int | None = None, message: str | None = None) -> None:
        super().__init__(message or f"Step {step_id} of workflow {workflow_id} was recorded twice by one execution")
        self.workflow_id = workflow_id
        self.step_id = step_id


# Errors of this engine alone. Their codes start at 101, out of the way of names yet to come.


class DBOSSerializationError(DBOSException):
    """A value cannot be stored, or a stored one cannot be read here."""

    dbos_error_code = 101


class DBOSPayloadTooLargeError(DBOSException):
    """A value is larger than Postgres can hold; what was recorded before it stands."""

    dbos_error_code = 102

    def __init__(self, name: str, size: int, limit: int | None = None) -> None:
        allowed = "" if limit is None else f" (the limit is {limit:,})"
        super().__init__(
            f"The value of {name} is {size:,} bytes, too large to store{allowed}. Keep large data outside and return "
            "a reference to it."
        )
        self.name = name
        self.size = size
        self.limit = limit


class DBOSProtocolNotServedError(DBOSException):
    """The schema no longer serves engines as old as this one."""

    dbos_error_code = 103

    def __init__(self, protocol: int, oldest_served: int | None = None) -> None:
        oldest = "" if oldest_served is None else f"; the oldest it serves is {oldest_served}"
        super().__init__(f"The database no longer serves engine protocol {protocol}{oldest}. Upgrade this program.")
        self.protocol = protocol
        self.oldest_served = oldest_served


class DBOSRemoteError(Exception):
    """Stands in for an exception that could not be brought back as itself.

    Not a `DBOSException`: the program raised it, not the engine.
    """

    def __init__(
        self, type_name: str, message: str, module: str = "", traceback_text: str = "", reason: str = ""
    ) -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message
        self.module = module
        self.traceback_text = traceback_text
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


# Names of earlier releases.
DBOSMaxRecoveryAttemptsExceededError = MaxRecoveryAttemptsExceededError
DBOSDeadLetterQueueError = MaxRecoveryAttemptsExceededError
DBOSWorkflowConflictUUIDError = DBOSWorkflowConflictIDError
DBOSCommunicatorMaxRetriesExceededError = DBOSMaxStepRetriesExceeded


# Signals between parts of the engine. Users never catch these.


class ExecutorStopping(BaseException):
    """This process is stopping: the run ends here and is handed back."""


class ClaimLost(BaseException):
    """The workflow's claim is somebody else's now: the run ends and records nothing."""


class ExecutorFenced(BaseException):
    """This executor is marked dead: everything it runs ends."""
