"""Queues, as programs declare and use them."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, ParamSpec, TypedDict, TypeVar

from ..runtime import bulk, starts
from ..runtime.io import BLOCKING, SUSPENDING, Io, run_blocking
from ..runtime.registry import REGISTRY, QueueSpec
from ._decorators import workflow_spec
from ._handles import WorkflowHandle, WorkflowHandleAsync
from ._state import executor

P = ParamSpec("P")
R = TypeVar("R")


class QueueRateLimit(TypedDict):
    """At most `limit` starts in any `period` seconds."""

    limit: int
    period: float


class Queue:
    """A queue: its workflows are run in the order of their priority and then of their arrival, within its limits.

    concurrency: how many may run at a time over all executors; worker_concurrency: in one executor; limiter: how
    many may start in a period. With partition_queue=True each partition key is a queue of its own, and the limits
    hold for each.

    Raises ValueError for limits that make no sense, DBOSException for a name declared before. Declare queues
    once, at import.
    """

    def __init__(
        self,
        name: str,
        concurrency: int | None = None,
        limiter: QueueRateLimit | None = None,
        *,
        worker_concurrency: int | None = None,
        priority_enabled: bool = False,
        partition_queue: bool = False,
        polling_interval_sec: float = 1.0,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"a queue's name must be a non-empty string, not {name!r}")
        if name.startswith("_dbos_"):
            raise ValueError(f"{name!r}: names that start with _dbos_ are the engine's own")
        _check_count(name, "concurrency", concurrency)
        _check_count(name, "worker_concurrency", worker_concurrency)
        if concurrency is not None and worker_concurrency is not None and worker_concurrency > concurrency:
            raise ValueError(
                f"queue {name!r}: worker_concurrency ({worker_concurrency}) must not be greater "
                f"than concurrency ({concurrency})"
            )
        rate, period = _check_limiter(name, limiter)
        _check_positive(name, "polling_interval_sec", polling_interval_sec)
        limits: dict[str, Any] = {
            "concurrency": concurrency,
            "worker_concurrency": worker_concurrency,
            "rate_limit": rate,
            "rate_period": period,
        }
        if partition_queue:
            limits = {f"partition_{limit}": value for limit, value in limits.items()}
        self._spec = QueueSpec(
            name=name,
            is_partitioned=partition_queue,
            priority_enabled=priority_enabled,
            polling_interval_sec=polling_interval_sec,
            **limits,
        )
        self.name = name
        self.concurrency = concurrency
        self.worker_concurrency = worker_concurrency
        self.limiter = limiter
        self.priority_enabled = priority_enabled
        self.partition_queue = partition_queue
        self.polling_interval_sec = polling_interval_sec
        REGISTRY.add_queue(self._spec)

    def __repr__(self) -> str:
        return f"Queue({self.name!r})"

    def enqueue(self, func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> WorkflowHandle[R]:
        """Put a workflow or a step on the queue. Durable when this returns; any executor of this version may run it.

        Raises DBOSQueueDeduplicatedError when another workflow of the queue holds the deduplication id
        (SetEnqueueOptions).
        """
        return WorkflowHandle(run_blocking(self._enqueue(BLOCKING, func, args, kwargs)))

    async def enqueue_async(
        self, func: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> WorkflowHandleAsync[R]:
        """As enqueue, from async code."""
        return WorkflowHandleAsync(await self._enqueue(SUSPENDING, func, args, kwargs))

    def enqueue_many(
        self, func: Callable[..., R], calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]
    ) -> list[WorkflowHandle[R]]:
        """Put the function on the queue once for each of `calls`, a tuple of arguments or a dict of keyword arguments;
        their handles, in that order. Many times faster than as many enqueues.

        What enclosing blocks ask for (SetEnqueueOptions and the others) holds for each. Durable when this returns. They
        are written up to 256 at a time: if it raises, or the process dies, those before may be on the queue. In a
        workflow each of them is a child of its own, and a replay enqueues those that are missing.
        """
        ids = run_blocking(self._enqueue_many(BLOCKING, func, calls, "Queue.enqueue_many"))
        return [WorkflowHandle(each) for each in ids]

    async def enqueue_many_async(
        self,
        func: Callable[..., Coroutine[Any, Any, R]],
        calls: Iterable[tuple[Any, ...] | Mapping[str, Any]],
    ) -> list[WorkflowHandleAsync[R]]:
        """As enqueue_many, from async code."""
        ids = await self._enqueue_many(SUSPENDING, func, calls, "Queue.enqueue_many_async")
        return [WorkflowHandleAsync(each) for each in ids]

    async def _enqueue_many(self, io: Io, func: Callable[..., Any], calls: Iterable[Any], what: str) -> list[str]:
        spec = workflow_spec(func, what)
        made = [_arguments(each, what, place) for place, each in enumerate(calls)]
        engine = executor(f"queue {self.name}")
        return [started.workflow_id for started in await bulk.enqueue_many(io, engine, self._spec, spec, made)]

    async def _enqueue(self, io: Io, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        spec = workflow_spec(func, "Queue.enqueue")
        engine = executor(f"queue {self.name}")
        return (await starts.enqueue(io, engine, self._spec, spec, args, kwargs)).workflow_id


def _arguments(call: Any, what: str, place: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(call, tuple):
        return call, {}
    if isinstance(call, Mapping):
        return (), dict(call)
    # Not unpacked as any iterable would be: a list of names would become calls with a letter for each argument.
    raise TypeError(
        f"{what}: call {place} is {call!r}, but must be a tuple of arguments, as in (value,), or a dict of keyword "
        "arguments"
    )


def _check_count(queue: str, name: str, value: int | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"queue {queue!r}: {name} must be a whole number of at least 1 or None, not {value!r}")


def _check_positive(queue: str, name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"queue {queue!r}: {name} must be a positive number of seconds, not {value!r}")


def _check_limiter(queue: str, limiter: QueueRateLimit | None) -> tuple[int | None, float | None]:
    if limiter is None:
        return None, None
    if not isinstance(limiter, dict) or set(limiter) != {"limit", "period"}:
        raise ValueError(f'queue {queue!r}: a limiter is {{"limit": starts, "period": seconds}}, not {limiter!r}')
    _check_count(queue, "limiter's limit", limiter["limit"])
    _check_positive(queue, "limiter's period", limiter["period"])
    return limiter["limit"], float(limiter["period"])
