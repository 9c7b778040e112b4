"""The Postgres under a chaos run: reached from every host, crashed, restarted, failed over."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from plugins import private_cluster
from plugins.chaos import ledger
from plugins.database import install_schema, with_database
from plugins.private_cluster import Cluster


class Postgres:
    """One server, on all addresses of this machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.url = with_database(cluster.url, "chaos")

    @property
    def port(self) -> int:
        return self._cluster.port

    def crash(self) -> None:
        """kill -9 of the whole server."""
        self._cluster.kill()

    def shut_down(self) -> None:
        self._cluster.stop(signal.SIGINT)

    def start(self) -> None:
        self._cluster.start()

    def terminate_backends(self, share: float, seed: float) -> int:
        """Of the engine's connections, this share."""
        chance = random.Random(seed)
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchall()
            chosen = [pid for (pid,) in found if chance.random() < share]
            connection.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) as pid", (chosen,))
            return len(chosen)
        return 0


@contextmanager
def running() -> Iterator[Postgres]:
    """A server of its own with the engine's schema and the ledger."""
    with private_cluster.cluster("listen_addresses=*", networks=("198.18.0.0/15",)) as cluster:
        made = Postgres(cluster)
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("create database chaos")
        install_schema(made.url)
        ledger.install(made.url)
        yield made
