"""Many workflows put on a queue by one call: in transactions of up to 256 rows, without a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..db.batches import ENQUEUES, Arguments
from ..errors import DBOSException
from ..logs import logger
from .committer import MAX_BYTES, MAX_ROWS
from .context import Settings, current_settings
from .io import Io
from .registry import QueueSpec, WorkflowSpec
from .starts import Start, Started, check_enqueue, draw_parent

if TYPE_CHECKING:
    from .executor import Executor

Call = tuple[tuple[Any, ...], dict[str, Any]]
_Row = tuple[int, Start, str, Arguments]


async def enqueue_many(
    io: Io, executor: Executor, queue: QueueSpec, spec: WorkflowSpec, calls: Sequence[Call]
) -> list[Started]:
    """As so many enqueues one after the other. What a broken off call has enqueued stays enqueued."""
    settings = current_settings.get()
    check_enqueue(queue, settings)
    starts = [
        # All numbers before anything is awaited: calls that run side by side draw the same ones in every replay.
        Start(io, executor, spec, each, queue, draw_parent(spec))
        for each in _settings_of_each(settings, len(calls))
    ]
    found: list[Started | None] = [await start.recall() for start in starts]
    unasked = ((place, starts[place], *calls[place]) for place, started in enumerate(found) if started is None)
    for chunk in _chunks((place, start, *start.prepare(args, kwargs)) for place, start, args, kwargs in unasked):
        for place, started in await _enqueue_chunk(io, executor, queue, chunk):
            found[place] = started
    return [started for started in found if started is not None]


def _settings_of_each(settings: Settings, count: int) -> list[Settings]:
    if count > 1 and settings.deduplication_id is not None and not settings.return_existing:
        raise DBOSException(
            "a deduplication id is held by one workflow at a time: enqueue workflows with one by one, or use "
            "duplication_policy='return-existing'"
        )
    if count > 1 and settings.id_request is not None:
        logger.warning(
            "SetWorkflowID(%s) names the first workflow of its block only; the others get generated ids",
            settings.id_request.workflow_id,
        )
    return [settings, *[replace(settings, id_request=None)] * (count - 1)][:count]


def _chunks(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    chunk: list[_Row] = []
    size = 0
    for row in rows:
        own = ENQUEUES.size(row[3])
        size += own
        if chunk and (len(chunk) >= MAX_ROWS or size > MAX_BYTES):
            yield chunk
            chunk, size = [], own
        chunk.append(row)
    if chunk:
        yield chunk


async def _enqueue_chunk(io: Io, executor: Executor, queue: QueueSpec, chunk: list[_Row]) -> list[tuple[int, Started]]:
    """One transaction; what it leaves over is asked for singly, which finds the verdict or the error."""
    alone = set(range(1, len(chunk) + 1))
    if len(chunk) > 1:
        try:
            alone = set(await _write(io, executor, chunk))
        except Exception as error:
            logger.debug("%d enqueues are made one by one: %s", len(chunk), error)
        else:
            chunk[0][1].announce(queue)
    return [
        (place, await start.ask(workflow_id, arguments) if number in alone else Started(workflow_id))
        for number, (place, start, workflow_id, arguments) in enumerate(chunk, 1)
    ]


async def _write(io: Io, executor: Executor, chunk: list[_Row]) -> list[int]:
    parent = chunk[0][1].parent

    def write() -> list[int]:
        owner = executor.owner if parent is None else parent.run.owner
        rows = [{**owner, **arguments} for *_, arguments in chunk]
        return executor.database.attempt(ENQUEUES.many, ENQUEUES.gather(rows))

    return await (executor.call(io, write) if parent is None else parent.run.call(io, write))
