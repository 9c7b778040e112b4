"""What a queue of messages in Postgres can do at best: read by SKIP LOCKED in batches, deleted in batches, no more."""

from __future__ import annotations

import time

import psycopg
from wire import PAYLOAD, quantiles, run, say, wait_for_end, wait_for_go

BATCH = 100
READ = f"""
update messages as m set visible_at = now() + interval '30 s', reads = m.reads + 1
where m.ctid = any (array(
  select c.ctid from messages as c where c.visible_at <= now() order by c.id limit {BATCH} for update skip locked
)) returning m.id, m.payload"""


def install(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "create table messages (id bigint generated always as identity primary key, visible_at timestamptz not null"
            " default now(), reads integer not null default 0, payload text not null)"
        )
    say(result={})


def fill(url: str, count: int, steps: int, kind: str) -> None:
    wait_for_go()
    took = []
    before, began = time.process_time(), time.time()
    with psycopg.connect(url, autocommit=True) as connection:
        for start in range(0, count, 1000):
            called = time.perf_counter()
            connection.execute(
                "insert into messages (payload) select %s from generate_series(1, %s)",
                (PAYLOAD, min(1000, count - start)),
            )
            took.append(time.perf_counter() - called)
    say(result={"seconds": time.time() - began, "cpu": time.process_time() - before, **quantiles(took)})


def work(url: str) -> None:
    import threading

    wait_for_go()
    before = time.process_time()
    ended = threading.Event()
    threading.Thread(target=lambda: (wait_for_end(), ended.set()), daemon=True).start()
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        say(launched=True)
        while not ended.is_set():
            found = connection.execute(READ, binary=True).fetchall()
            if found:
                connection.execute("delete from messages where id = any(%s)", ([row[0] for row in found],))
            else:
                ended.wait(0.02)
    say(result={"cpu": time.process_time() - before})


if __name__ == "__main__":
    run({each.__name__: each for each in (install, fill, work)})
