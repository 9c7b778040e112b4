from __future__ import annotations

from plugins.executors import Executor, in_flight, put_in_flight, read, value


def test_due_rows_become_runnable(executor: Executor) -> None:
    put_in_flight(executor.connection, "due", status="DELAYED", run_at="2000-01-01")
    put_in_flight(executor.connection, "later", status="DELAYED", run_at="2999-01-01")

    assert value(executor.connection, "release_delayed", limit=10) == 1
    due, later = in_flight(executor.connection, "due"), in_flight(executor.connection, "later")
    assert due is not None
    assert due["status"] == "ENQUEUED"
    assert later is not None
    assert later["status"] == "DELAYED"


def test_lanes_are_opened(executor: Executor) -> None:
    for number in range(3):
        put_in_flight(executor.connection, f"w{number}", status="DELAYED", run_at="2000-01-01", partition_key="p")

    assert value(executor.connection, "release_delayed", limit=10) == 3
    assert read(executor.connection, "select partition_key from pyengine.lanes") == [{"partition_key": "p"}]


def test_bounded_and_told_by_housekeeping(executor: Executor) -> None:
    for number in range(3):
        put_in_flight(executor.connection, f"w{number}", status="DELAYED", run_at="2000-01-01")

    assert executor.housekeep() == [("release_delayed", None)]
    assert [value(executor.connection, "release_delayed", limit=2) for _ in range(3)] == [2, 1, 0]
