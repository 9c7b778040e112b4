"""An engine that works while somebody holds a snapshot: it finds its work without wading through what is gone, and
none of it is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plugins.queueing import enqueue
from plugins.sessions import Connection, wait_until
from pyengine import DBOS, Queue, SetEnqueueOptions
from pyengine.runtime.low_water import LowWater, Mark

Launch = Callable[..., type[DBOS]]


PARTS = [None, "part"]


@pytest.fixture
def held(part: str | None, session_factory: Callable[..., Connection]) -> Iterator[Connection]:
    """Twenty thousand rows of a queue are gone, and a snapshot keeps what is left of them."""
    session, holder = session_factory(), session_factory(autocommit=False)
    session.execute(
        "insert into pyengine.in_flight (workflow_id, status, queue, application, app_version, partition_key)"
        " select 'gone' || n, 'ENQUEUED', 'work', 'test-app', 'v1', %s from generate_series(1, 20000) as n",
        (part,),
    )
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select count(*) from pyengine.in_flight")
    session.execute("delete from pyengine.in_flight")
    yield session
    holder.rollback()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Mark | None]:
    """Where looks at queues began."""
    found: list[Mark | None] = []
    learn = LowWater.learn

    def seen(self: LowWater, claims: Any, mark: Mark | None, *instants: float) -> None:
        found.append(mark)
        learn(self, claims, mark, *instants)

    monkeypatch.setattr(LowWater, "learn", seen)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_work_is_found_behind_what_is_gone_and_what_comes_late_before_it(
    launch: Launch,
    part: str | None,
    held: Connection,
    session_factory: Callable[..., Connection],
    begun: list[Mark | None],
) -> None:
    work = Queue("work", partition_queue=part is not None)
    ran: list[str] = []

    @DBOS.workflow(name="flow")
    def flow(name: str) -> None:
        ran.append(name)

    def from_outside(connection: Connection, name: str) -> None:
        inputs = b'j{"args":["%s"],"kwargs":{}}' % name.encode()
        # A partition of its own: while it is not committed, nobody else can open it.
        key = None if part is None else name
        where = {"queue": "work", "application": "test-app", "app_version": "v1", "partition_key": key}
        enqueue(connection, name, name="flow", inputs=inputs, **where)

    launch(application_version="v1")
    late = session_factory(autocommit=False)
    from_outside(late, "late")
    done = 0

    def is_begun_at_a_mark() -> bool:
        nonlocal done
        with SetEnqueueOptions(queue_partition_key=part):
            work.enqueue(flow, f"{done}").get_result()
        done += 1
        return any(mark is not None for mark in begun)

    wait_until(is_begun_at_a_mark, what="a look that begins at a mark", timeout_seconds=60)
    late.commit()
    wait_until(lambda: "late" in ran, what="the row from before the mark", timeout_seconds=60)
    assert sorted(ran) == sorted(["late", *map(str, range(done))])


@pytest.mark.parametrize("part", [None])
@pytest.mark.usefixtures("held")
def test_who_has_no_room_does_not_wade_each_time_and_goes_on_when_there_is(
    launch: Launch, begun: list[Mark | None]
) -> None:
    work, room = Queue("work", concurrency=1), threading.Event()

    @DBOS.workflow()
    def flow(name: str) -> str:
        assert room.wait(90)
        return name

    launch(application_version="v1")
    handles = []

    def is_begun_at_a_mark() -> bool:
        handles.append(work.enqueue(flow, f"{len(handles)}"))
        return any(begun)

    wait_until(is_begun_at_a_mark, what="a look that begins at a mark", timeout_seconds=60)
    room.set()
    assert [handle.get_result() for handle in handles] == [f"{number}" for number in range(len(handles))]
