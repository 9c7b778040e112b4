"""Steps: run once, checkpointed; retried when they may be; not run again on replay."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

from ..db.batches import ATTEMPTS
from ..db.rows import Checkpoint
from ..errors import DBOSException, DBOSMaxStepRetriesExceeded, DBOSStepTimeoutError
from .context import Frame, StepStatus, check_frame, current_frame, recording_run
from .io import Io
from .registry import StepSpec
from .run import Run, check_size

T = TypeVar("T")

_LONGEST_DELAY = 3600.0


async def call_step(io: Io, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a step function: a checkpointed step directly in a workflow, a plain call anywhere else."""
    run = recording_run()
    if run is None:
        check_frame()
        return await io.user(spec.function, args, kwargs)
    step_id = run.draw_step_id()
    recorded = run.recorded(step_id, spec.name)
    if recorded is not None and recorded.name is not None:
        return replay(run, recorded)
    return await _Attempts(io, run, spec, step_id, recorded).run_to_checkpoint(args, kwargs)


def replay(run: Run, recorded: Checkpoint) -> Any:
    """The outcome that an earlier run recorded."""
    if recorded.error is not None:
        raise run.executor.codec.decode_error(recorded.error)
    return None if recorded.output is None else run.executor.codec.decode(recorded.output)


def _as_it_is(value: Any) -> Any:
    return value


async def recorded_call(
    io: Io,
    name: str,
    call: Callable[[], Awaitable[T]],
    pack: Callable[[T], Any] = _as_it_is,
    unpack: Callable[[Any], T] = _as_it_is,
) -> T:
    """An engine call that reads or changes the world: a step of its own in a workflow, so that a replay sees the
    same answer. `pack` makes of the answer what is stored.
    """
    run = recording_run()
    if run is None:
        return await call()
    step_id = run.draw_step_id()
    recorded = run.recorded(step_id, name)
    if recorded is not None and recorded.name is not None:
        return unpack(replay(run, recorded))

    async def packed() -> Any:
        return pack(await call())

    return unpack(await record_outcome(io, run, step_id, name, packed))


async def record_outcome(io: Io, run: Run, step_id: int, name: str, call: Callable[[], Awaitable[T]]) -> T:
    codec = run.executor.codec
    began = time.monotonic()
    try:
        result = await call()
    except Exception as error:
        await run.record(io, step_id, name, error=codec.encode_error(error), elapsed=time.monotonic() - began)
        raise
    verdict = await run.record(io, step_id, name, output=codec.encode(result), elapsed=time.monotonic() - began)
    return result if verdict.verdict == "stored" else replay(run, _as_checkpoint(step_id, verdict))


def _as_checkpoint(step_id: int, verdict: Any) -> Checkpoint:
    return Checkpoint(step_id, verdict.name, verdict.output, verdict.error, verdict.child_id, None, None)


async def _within(call: Coroutine[Any, Any, T], run: Run, spec: StepSpec) -> T:
    """An async step that ends at its time limit, or, if it is preemptible, when its run is interrupted.

    It is over when this returns: what it does on being cancelled is waited for. Not asyncio.wait_for: a TimeoutError
    that the step raises itself must stay what it is.
    """
    task = asyncio.ensure_future(call)
    try:
        with run.watched() if spec.preemptible else nullcontext() as interruption:
            awaited: list[asyncio.Future[Any]] = [task]
            if interruption is not None:
                awaited.append(asyncio.wrap_future(interruption))
            await asyncio.wait(awaited, timeout=spec.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # looked at: nobody else will
    if spec.preemptible:
        run.check(may_finish=True)
    raise DBOSStepTimeoutError(spec.name, spec.timeout_seconds)


class _Attempts:
    """The attempts of one step in one run. Failed ones are recorded before the next, so that their count survives
    a crash.
    """

    def __init__(self, io: Io, run: Run, spec: StepSpec, step_id: int, recorded: Checkpoint | None) -> None:
        self.io = io
        self.run = run
        self.spec = spec
        self.codec = run.executor.codec
        before = recorded.attempt_errors if recorded is not None and recorded.attempt_errors else []
        self.errors: list[Exception] = [self._decode(error) for error in before]
        self.status = StepStatus(step_id, len(self.errors), spec.max_attempts if spec.retries_allowed else None)

    def _decode(self, error: bytes | None) -> Exception:
        decoded = None if error is None else self.codec.decode_error(error)
        return decoded if isinstance(decoded, Exception) else DBOSException("an attempt failed")

    async def run_to_checkpoint(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        began = time.monotonic()
        try:
            output = await self._attempt_until_done(args, kwargs)
            encoded = self.codec.encode(output)
            check_size(f"step {self.spec.name}", encoded)
        except Exception as error:
            await self._record(began, error=self.codec.encode_error(error))
            raise
        verdict = await self._record(began, output=encoded)
        return output if verdict.verdict == "stored" else replay(self.run, _as_checkpoint(self.status.step_id, verdict))

    async def _record(self, began: float, **outcome: Any) -> Any:
        elapsed = time.monotonic() - began
        return await self.run.record(self.io, self.status.step_id, self.spec.name, elapsed=elapsed, **outcome)

    async def _attempt_until_done(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        await self._follow_up()
        while True:
            if self.spec.retries_allowed and len(self.errors) >= self.spec.max_attempts:
                raise DBOSMaxStepRetriesExceeded(self.spec.name, self.spec.max_attempts, self.errors)
            self.status.current_attempt = len(self.errors)
            try:
                return await self._attempt(args, kwargs)
            except Exception as error:
                if not self.spec.retries_allowed or not await self._may_retry(error):
                    raise
                await self._failed(error)

    async def _follow_up(self) -> None:
        """An attempt whose process was killed could not decide what comes next: it is decided here, on replay."""
        if not self.errors:
            return
        last = self.errors[-1]
        if not self.spec.retries_allowed:
            raise last
        was_killed = not self.spec.is_async and isinstance(last, DBOSStepTimeoutError)
        if not was_killed or len(self.errors) >= self.spec.max_attempts:
            return
        if not await self._may_retry(last):
            raise last
        await self.run.pause(self.io, self._delay(len(self.errors)))

    async def _attempt(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.run.check()
        limits = self.run.executor.limits
        token = current_frame.set(Frame(self.run, self.status))
        try:
            with limits.of_attempt(self.run, self.spec, self.status.step_id, len(self.errors) + 1):
                call = self.io.user(self.spec.function, args, kwargs)
                if self.spec.timeout_seconds is None and not self.spec.preemptible:
                    return await call
                return await _within(call, self.run, self.spec)
        finally:
            current_frame.reset(token)

    async def _may_retry(self, error: Exception) -> bool:
        if self.spec.should_retry is None:
            return True
        answer = self.spec.should_retry(error)
        return bool(await answer if inspect.isawaitable(answer) else answer)

    async def _failed(self, error: Exception) -> None:
        self.errors.append(error)
        attempt = len(self.errors)
        self.run.executor.logger.warning(
            "Step %s failed in attempt %d of %d: %s: %s",
            self.spec.name,
            attempt,
            self.spec.max_attempts,
            type(error).__name__,
            error,
        )
        if attempt >= self.spec.max_attempts:
            return
        # Together with those that fail at the same time: when what all of them call is down, that is many.
        row = {
            **self.run.claim,
            "step_id": self.status.step_id,
            "attempt": attempt,
            "error": self.codec.encode_error(error),
        }
        verdict = await self.run.commit(self.io, ATTEMPTS, row)
        self.run.heed(verdict)
        await self.run.pause(self.io, self._delay(attempt))

    def _delay(self, attempt: int) -> float:
        """Up to a quarter more or less than the schedule says, so that what failed together does not come back
        together.
        """
        planned = min(self.spec.interval_seconds * self.spec.backoff_rate ** (attempt - 1), _LONGEST_DELAY)
        return planned * random.uniform(0.75, 1.25)
