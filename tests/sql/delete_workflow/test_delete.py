from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from plugins.executors import Connection, Executor, put_in_flight, read, value
from plugins.queueing import cancel, claim, doctor, enqueue, put_queue

NewExecutor = Callable[..., Executor]
TABLES = ("workflows", "in_flight", "outcomes", "checkpoints", "step_attempts")


def delete(connection: Connection, workflow_id: str = "w") -> str:
    found: str = value(connection, "delete_workflow", workflow_id=workflow_id)
    return found


def left(connection: Connection) -> dict[str, int]:
    counts = {table: len(read(connection, f"select 1 from pyengine.{table}")) for table in TABLES}
    return {table: count for table, count in counts.items() if count}


@pytest.mark.parametrize("end", ["running", "finished", "cancelled", "enqueued", "delayed"])
def test_nothing_is_left_of_it_whatever_its_status(executor: Executor, session: Connection, end: str) -> None:
    if end in ("enqueued", "delayed"):
        enqueue(session, "w", delay="1 hour" if end == "delayed" else None, deduplication_id="d")
    else:
        executor.start("w", fence=5)
        executor.checkpoint("w", 5, 0)
        executor.attempt("w", 5, 1, 1)
    if end == "finished":
        executor.finish("w", 5)
    elif end == "cancelled":
        cancel(session, "w")

    assert delete(session) == "deleted"
    assert left(session) == {}
    assert delete(session) == "unknown"
    assert doctor(session) == []


def test_other_workflows_and_its_own_children_stay(executor: Executor, session: Connection) -> None:
    executor.start("other", fence=4)
    executor.checkpoint("other", 4, 0)
    executor.start("w", fence=5)
    executor.start_child("child", "w", 5, 0)
    delete(session)

    assert left(session) == {"workflows": 2, "in_flight": 2, "checkpoints": 1}


def test_a_run_of_it_is_refused_and_told(executor: Executor, session: Connection) -> None:
    executor.start("w", fence=5)
    delete(session)

    assert executor.checkpoint("w", 5, 0)["verdict"] == "fenced"
    assert executor.finish("w", 5) == "fenced"
    tick = executor.tick()
    assert (tick["interrupted_ids"], tick["interrupted_fences"]) == (["w"], [5])
    assert tick["interrupted_reasons"] == ["deleted"]
    assert left(session) == {}


def test_its_id_and_its_key_are_free_again(executor: Executor, session: Connection) -> None:
    enqueue(session, "w", deduplication_id="d")
    delete(session)

    assert enqueue(session, "w", deduplication_id="d")["verdict"] == "yours"
    assert claim(executor) == ["w"]


def test_a_partition_it_emptied_is_no_damage(executor: Executor, session: Connection) -> None:
    put_queue(session, is_partitioned=True)
    enqueue(session, "w", partition_key="k")
    delete(session)

    assert claim(executor) == []
    assert doctor(session) == []


def test_what_a_dead_executor_ran_can_be_deleted_before_its_takeover(new_executor: NewExecutor) -> None:
    old, new = new_executor(), new_executor()
    old.start("w", fence=5)
    new.mark_dead(old)

    assert delete(new.connection) == "deleted"
    assert new.take_over(old) == (0, 0, False)


def test_a_stricter_isolation_level_is_refused(executor: Executor, session: Connection) -> None:
    executor.start("w", fence=5)
    session.autocommit = False
    session.execute("set transaction isolation level repeatable read")

    with pytest.raises(psycopg.Error) as caught:
        delete(session)
    assert caught.value.sqlstate == "WF005"


def test_damage_is_removed_as_well(executor: Executor, session: Connection) -> None:
    put_in_flight(session, "w")
    session.execute("delete from pyengine.in_flight")

    assert delete(session) == "deleted"
    assert left(session) == {}
    assert doctor(executor.connection) == []
