"""Who is measured: this engine, its peers, and a bound; and what each has stored when it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).with_name("programs")


@dataclass(frozen=True)
class System:
    name: str
    program: str
    requirements: tuple[str, ...]  # none: the interpreter that runs the suite
    durable: str  # what is committed, and when
    setup: str  # how it was set up, where that is not the default
    done: str  # SQL: how many are finished, of %(count)s
    has_steps: bool = False
    calls_directly: bool = False  # workflows can be called without a queue
    runs_coroutines: bool = False  # its jobs are, here: they are compared with our coroutines
    rate: int = 1000  # expected jobs a second and process: sizes backlogs, judges nothing
    async_rate: int = 0  # of coroutines, where that is another one
    has_bulk: bool = False  # a call that enqueues a list
    bulk: str = "16 threads, one to a call: it has no way to enqueue a list"
    engine: str = ""
    callers: int = 64  # at a time; a peer with a pool of connections gets as many as keep it busy
    queues: dict[str, Any] | None = None
    cells: frozenset[str] = field(default_factory=lambda: frozenset({"sequential", "concurrent", "enqueue", "drain"}))

    only_in_full: frozenset[str] = frozenset()  # of the cells

    def families(self, scale: str) -> frozenset[str]:
        return self.cells if scale == "full" else self.cells - self.only_in_full

    @property
    def path(self) -> Path:
        return PROGRAMS / self.program


OURS = System(
    name="pyengine", program="durable.py", requirements=(), engine="pyengine",
    has_bulk=True, bulk="enqueue_many, 1024 to a call, up to 256 in a transaction",
    durable="start or enqueue, every step and the end, each before its caller goes on; claims too",
    setup="defaults",
    done="select count(*) from pyengine.outcomes",
    has_steps=True, calls_directly=True, rate=4000, async_rate=10_000,
    cells=frozenset({"sequential", "concurrent", "enqueue", "drain", "latency", "cost"}),
)  # fmt: skip

_DBOS = {
    "program": "durable.py",
    "engine": "dbos",
    "durable": "start or enqueue, every step and the end, each before its caller goes on; claims too",
    "setup": "queue polled every 50 ms (default 1 s); otherwise defaults",
    "done": "select count(*) from dbos.workflow_status where status = 'SUCCESS'",
    "has_steps": True,
    "calls_directly": True,
    "rate": 200,
    "callers": 32,
    "queues": {"work": {"polling_interval_sec": 0.05}},
}

DBOS_3 = System(
    name="dbos 3.4.0", requirements=("dbos==3.4.0",),
    cells=frozenset({"sequential", "concurrent", "enqueue", "drain", "latency", "cost"}), **_DBOS,
)  # fmt: skip
DBOS_2 = System(
    name="dbos 2.31.1",
    requirements=("dbos==2.31.1", "sqlalchemy<2.1"),
    cells=frozenset({"sequential", "drain"}),
    only_in_full=frozenset({"sequential"}),
    **_DBOS,
)
ABSURD = System(
    name="absurd-sdk 0.5.1", program="absurd_tasks.py",
    requirements=("absurd-sdk==0.5.1", "absurdctl==0.5.1", "psycopg[binary]"),
    durable="spawn, claim, every step and the end, each before its caller goes on",
    bulk="8 threads, one to a call: it has no way to spawn a list",
    setup="async worker, 32 at a time, claims of 32, polls every 50 ms (default 250 ms)",
    done="select count(*) from absurd.t_work where state = 'completed'",
    has_steps=True, runs_coroutines=True, rate=300, callers=32,
    cells=frozenset({"sequential", "enqueue", "drain", "cost"}),
)  # fmt: skip
PROCRASTINATE = System(
    name="procrastinate 3.10.0", program="procrastinate_jobs.py", requirements=("procrastinate==3.10.0",),
    durable="job, its fetching and its end, each before the worker goes on; no steps",
    setup="async tasks, 32 at a time, LISTEN",
    has_bulk=True, bulk="batch_defer, 500 to a call, in a transaction",
    done="select count(*) from procrastinate_jobs where status = 'succeeded'",
    runs_coroutines=True, rate=400, cells=frozenset({"sequential", "enqueue", "drain", "cost"}),
)  # fmt: skip
PGQUEUER = System(
    name="pgqueuer 1.6.0", program="pgqueuer_jobs.py",
    requirements=("pgqueuer[asyncpg]==1.6.0", "psycopg[binary]"),
    durable="job and its fetching; ends are gathered and written later, a crash runs those jobs again; no steps",
    setup="asyncpg, uvloop, batches of 100 at fetching",
    has_bulk=True, bulk="lists, 1000 to a call, in a transaction",
    done="select %(count)s - count(*) from pgqueuer",
    runs_coroutines=True, rate=12_000, callers=32, cells=frozenset({"sequential", "enqueue", "drain", "cost"}),
)  # fmt: skip
SKIP_LOCKED = System(
    name="SKIP LOCKED", program="skip_locked.py", requirements=(),
    durable="messages, and the reading and deleting of 100 at a time; nothing of a single job",
    setup="psycopg, batches of 100: a bound, not an engine",
    done="select %(count)s - count(*) from messages",
    rate=15000, cells=frozenset({"drain", "cost"}),
)  # fmt: skip

PEERS = (DBOS_3, DBOS_2, ABSURD, PROCRASTINATE, PGQUEUER, SKIP_LOCKED)
EVERYBODY = (OURS, *PEERS)
