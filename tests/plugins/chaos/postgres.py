"""The Postgres under a chaos run: reached from every host, crashed, restarted, failed over."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from plugins import private_cluster
from plugins.chaos import ledger
from plugins.database import install_schema, with_database
from plugins.private_cluster import Cluster
from plugins.sessions import wait_until

DATABASE = "chaos"


class Postgres:
    """A primary, perhaps with a synchronous standby, on all addresses of this machine."""

    def __init__(self, primary: Cluster) -> None:
        self._primary = primary
        self._standby: Cluster | None = None
        self.ports: tuple[int, ...] = (primary.port,)

    @property
    def url(self) -> str:
        """Of whichever is the primary."""
        return self.url_at("127.0.0.1", self.ports)

    def url_at(self, address: str, ports: tuple[int, ...]) -> str:
        """As it is reached over an address; both servers, if there are two."""
        parts = conninfo_to_dict(self._primary.url)
        where = ",".join(f"{address}:{port}" for port in ports)
        wants = "?target_session_attrs=read-write" if len(ports) > 1 else ""
        return f"postgresql://{parts['user']}:{parts['password']}@{where}/{DATABASE}{wants}"

    def is_up(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=3).close()
            return True
        return False

    # -- faults ------------------------------------------------------------------------------------

    def crash(self) -> None:
        """kill -9 of the whole server."""
        self._primary.kill()

    def shut_down(self) -> None:
        self._primary.stop(signal.SIGINT)

    def start(self) -> None:
        self._primary.start()

    def lose_primary(self) -> None:
        """kill -9, and it does not come back. `promote` and `add_standby` follow."""
        self._primary.kill()

    def promote(self) -> None:
        assert self._standby is not None
        old, self._primary, self._standby = self._primary, self._standby, None
        self._lost = old
        self._execute("alter system set synchronous_standby_names = ''", "select pg_promote()")

    def add_standby(self) -> None:
        """The first one, or one in the place of a primary that was lost. It is synchronous."""
        self._execute("select pg_create_physical_replication_slot('standby')")
        if len(self.ports) == 1:
            standby = self._primary.copy("-R", "-S", "standby")
            self.ports += (standby.port,)
        else:
            standby = self._lost
            standby.replace_by_copy_of(self._primary, "-R", "-S", "standby")
        standby.start()
        self._execute("alter system set synchronous_standby_names = '*'", "select pg_reload_conf()")
        with psycopg.connect(self._primary.url, autocommit=True) as connection:
            query = "select exists (select from pg_stat_replication where sync_state = 'sync')"
            wait_until(lambda: connection.execute(query).fetchone() == (True,), what="a synchronous standby")
        self._standby = standby

    def terminate_backends(self, share: float, seed: float) -> int:
        """Of all connections to the database, this share."""
        chance = random.Random(seed)
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchall()
            chosen = [pid for (pid,) in found if chance.random() < share]
            connection.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) as pid", (chosen,))
            return len(chosen)
        return 0

    def _execute(self, *statements: str) -> None:
        with psycopg.connect(self._primary.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def close(self) -> None:
        """The one that `running` did not start."""
        for cluster in (self._primary, self._standby):
            if cluster is not None:
                cluster.kill()


@contextmanager
def running(*, standby: bool = False) -> Iterator[Postgres]:
    """A server of its own with the engine's schema and the ledger."""
    with private_cluster.cluster("listen_addresses=*", networks=("198.18.0.0/15",)) as cluster:
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute(f"create database {DATABASE}".encode())
        url = with_database(cluster.url, DATABASE)
        install_schema(url)
        ledger.install(url)
        made = Postgres(cluster)
        try:
            if standby:
                made.add_standby()
            yield made
        finally:
            made.close()
