"""What the program declared: workflows, steps, queues and schedules by name. Filled by decorators, before or
after DBOS().
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from ..errors import DBOSConflictingRegistrationError

INTERNAL_QUEUE = "_dbos_internal_queue"
# A step that is started or enqueued by itself runs in a hidden workflow of this name.
TEMPORARY_PREFIX = "<temp>."


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """A registered workflow function: `function` is the user's, undecorated."""

    name: str
    function: Callable[..., Any]
    max_recovery_attempts: int | None
    is_async: bool
    is_hidden: bool = False
    class_name: str | None = None
    kill_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """A registered step function and how it is retried. Intervals in seconds."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    retries_allowed: bool = False
    interval_seconds: float = 1.0
    max_attempts: int = 3
    backoff_rate: float = 2.0
    should_retry: Callable[[BaseException], Any] | None = None
    timeout_seconds: float | None = None
    preemptible: bool = False
    kill_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """A declared queue. Limits of `partition_…` count within each partition key, the others over the whole queue."""

    name: str
    concurrency: int | None = None
    worker_concurrency: int | None = None
    rate_limit: int | None = None
    rate_period: float | None = None
    is_partitioned: bool = False
    partition_concurrency: int | None = None
    partition_worker_concurrency: int | None = None
    partition_rate_limit: int | None = None
    partition_rate_period: float | None = None
    priority_enabled: bool = False
    polling_interval_sec: float = 1.0

    @property
    def is_limited(self) -> bool:
        limits = (self.concurrency, self.worker_concurrency, self.rate_limit, self.partition_concurrency)
        return any(
            limit is not None for limit in (*limits, self.partition_worker_concurrency, self.partition_rate_limit)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    name: str
    cron: str
    workflow: WorkflowSpec


@dataclass(slots=True)
class Registry:
    workflows: dict[str, WorkflowSpec] = field(default_factory=dict)
    queues: dict[str, QueueSpec] = field(default_factory=dict)
    schedules: dict[str, ScheduleSpec] = field(default_factory=dict)
    listeners: list[Callable[[QueueSpec | ScheduleSpec], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_workflow(self, spec: WorkflowSpec) -> None:
        with self._lock:
            known = self.workflows.get(spec.name)
            if known is not None and not _is_same_place(known.function, spec.function):
                raise DBOSConflictingRegistrationError(
                    spec.name,
                    f"two workflows are named {spec.name!r}: one in {_place(known.function)}, "
                    f"one in {_place(spec.function)}. "
                    "Give one of them another name: @DBOS.workflow(name=...)",
                )
            self.workflows[spec.name] = spec

    def add_queue(self, spec: QueueSpec) -> None:
        with self._lock:
            if spec.name in self.queues:
                raise DBOSConflictingRegistrationError(
                    spec.name,
                    f"a queue named {spec.name!r} is declared already: declare it once and import it where it is used",
                )
            self.queues[spec.name] = spec
        self._tell(spec)

    def add_schedule(self, spec: ScheduleSpec) -> None:
        with self._lock:
            self.schedules[spec.name] = spec
        self._tell(spec)

    def forget_listeners(self) -> None:
        """In a forked child: whoever listens, or holds the lock, is a thread of the parent."""
        self._lock = threading.Lock()
        self.listeners.clear()

    def _tell(self, spec: QueueSpec | ScheduleSpec) -> None:
        for listener in list(self.listeners):
            listener(spec)

    def workflow(self, name: str) -> WorkflowSpec | None:
        return self.workflows.get(name)

    def versioned_functions(self) -> list[Callable[..., Any]]:
        """The functions whose source makes the application version: workflows, not steps."""
        return [spec.function for spec in self.workflows.values() if not spec.is_hidden]

    def clear(self) -> None:
        with self._lock:
            self.workflows.clear()
            self.queues.clear()
            self.schedules.clear()


def _code(function: Callable[..., Any]) -> CodeType | None:
    return getattr(inspect.unwrap(function), "__code__", None)


def _place(function: Callable[..., Any]) -> str:
    code = _code(function)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _is_same_place(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """The same definition run again (a reloaded module, `__main__` imported by its name, a notebook cell)
    replaces the former.
    """
    first, second = _code(one), _code(other)
    if first is None or second is None:
        return one is other
    if first.co_filename.startswith("<") or "ipykernel" in first.co_filename:
        return True
    return _place(one) == _place(other)


REGISTRY = Registry()
