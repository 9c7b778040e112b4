from __future__ import annotations

from typing import Any

import psycopg
import pytest

from plugins.executors import Connection, read
from plugins.queueing import put_queue


def test_an_unchanged_declaration_writes_nothing(session: Connection) -> None:
    put_queue(session, concurrency=5, rate_limit=2, rate_period="10 seconds")
    before = read(session, "select q.ctid, q.xmin, q.* from pyengine.queues as q")
    put_queue(session, concurrency=5, rate_limit=2, rate_period="10 seconds")

    assert read(session, "select q.ctid, q.xmin, q.* from pyengine.queues as q") == before


def test_a_changed_declaration_replaces_the_limits(session: Connection) -> None:
    put_queue(session, concurrency=5, worker_concurrency=2)
    put_queue(session, concurrency=7)
    (stored,) = read(session, "select * from pyengine.queues")

    assert (stored["concurrency"], stored["worker_concurrency"]) == (7, None)


def test_a_limit_per_partition_makes_the_queue_partitioned(session: Connection) -> None:
    put_queue(session, partition_concurrency=1)

    assert read(session, "select * from pyengine.queues")[0]["is_partitioned"]


@pytest.mark.parametrize(
    "limits",
    [
        {"queue": " "},
        {"concurrency": 0},
        {"worker_concurrency": -1},
        {"concurrency": 1, "worker_concurrency": 2},
        {"partition_concurrency": 1, "partition_worker_concurrency": 2},
        {"rate_limit": 1},
        {"rate_limit": 1, "rate_period": "0 seconds"},
        {"partition_rate_period": "1 second"},
    ],
)
def test_limits_that_cannot_be_meant_are_refused(session: Connection, limits: dict[str, Any]) -> None:
    with pytest.raises(psycopg.Error) as refused:
        put_queue(session, **limits)

    assert refused.value.sqlstate == "WF101"
    assert read(session, "select * from pyengine.queues") == []
