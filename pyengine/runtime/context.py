"""What the code running now belongs to: the current run and step, and what `with Set…` blocks asked for."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import Run


@dataclass(slots=True)
class StepStatus:
    """Where a step stands: `current_attempt` counts from 0; `max_attempts` is None when it is not retried."""

    step_id: int
    current_attempt: int | None = None
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The workflow run this code is part of, and its step when it is inside one."""

    run: Run
    step: StepStatus | None = None


@dataclass(slots=True)
class WorkflowIDRequest:
    """The id that `SetWorkflowID` asks for: the first workflow started in its block takes it."""

    workflow_id: str
    reject_existing: bool = False
    is_taken: bool = False


class Unset:
    """Told apart from None, which detaches a child from its parent's deadline."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Settings:
    """What enclosing `with Set…` blocks ask of workflows started in them. Delays and timeouts in seconds."""

    id_request: WorkflowIDRequest | None = None
    timeout: float | Unset | None = UNSET
    attributes: dict[str, Any] | None = None
    deduplication_id: str | None = None
    return_existing: bool = False
    priority: int | None = None
    app_version: str | None = None
    partition_key: str | None = None
    delay_seconds: float | None = None
    authenticated_user: str | None = None
    authenticated_roles: list[str] | None = field(default=None)
    assumed_role: str | None = None

    @property
    def enqueue_only(self) -> list[str]:
        """The names of the options that mean something only for an enqueue."""
        options = {
            "deduplication_id": self.deduplication_id,
            "priority": self.priority,
            "queue_partition_key": self.partition_key,
            "delay_seconds": self.delay_seconds,
        }
        return [name for name, value in options.items() if value is not None]


NO_SETTINGS = Settings()

current_frame: ContextVar[Frame | None] = ContextVar("pyengine_frame", default=None)
current_settings: ContextVar[Settings] = ContextVar("pyengine_settings", default=NO_SETTINGS)


def current_run() -> Run | None:
    """The run this code is part of, None outside of a workflow."""
    frame = current_frame.get()
    return None if frame is None else frame.run


def recording_run() -> Run | None:
    """The run whose next engine call is a step of its own: None outside of a workflow and inside a step."""
    frame = current_frame.get()
    return None if frame is None or frame.step is not None else frame.run


def check_frame() -> None:
    """Raise if the code running now must go no further. While the process drains, a step may come to its end."""
    frame = current_frame.get()
    if frame is not None:
        frame.run.check(may_finish=frame.step is not None)
