"""A primary and a streaming standby of the test's own, and a URL that names both."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from plugins import private_cluster
from plugins.database import install_schema, with_database
from plugins.private_cluster import Cluster
from plugins.sessions import wait_until

DATABASE = "pair"


class Pair:
    """`url` names both and goes to whichever of the two takes writes."""

    def __init__(self, primary: Cluster) -> None:
        self.primary = primary
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute(f"create database {DATABASE}".encode())
            connection.execute("select pg_create_physical_replication_slot('standby')")
        install_schema(self.url_of(primary))
        self.standby = primary.copy("-R", "-S", "standby")
        self.standby.start()
        first, second = (f"127.0.0.1:{cluster.port}" for cluster in (primary, self.standby))
        self.url = self.url_of(primary).replace(first, f"{first},{second}") + "?target_session_attrs=read-write"

    @staticmethod
    def url_of(cluster: Cluster) -> str:
        return with_database(cluster.url, DATABASE)

    def on(self, cluster: Cluster, query: str) -> Any:
        with psycopg.connect(self.url_of(cluster), autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
            return None if row is None else row[0]

    def synchronous(self) -> None:
        """From here on, what is acknowledged is on both."""
        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            connection.execute("alter system set synchronous_standby_names = '*'")
            connection.execute("select pg_reload_conf()")
        wait_until(
            lambda: self.on(self.primary, "select sync_state from pg_stat_replication") == "sync",
            what="a synchronous standby",
        )

    def end_replication(self) -> None:
        """What is committed from here on does not reach the standby: it is asynchronous, and gets nothing any more."""
        sent = self.on(self.primary, "select pg_current_wal_lsn()")
        wait_until(
            lambda: self.on(self.standby, f"select pg_last_wal_replay_lsn() >= '{sent}'"), what="the standby's replay"
        )
        with psycopg.connect(self.standby.url, autocommit=True) as connection:
            connection.execute("alter system set primary_conninfo = ''")
            connection.execute("select pg_reload_conf()")
        wait_until(
            lambda: not self.on(self.primary, "select exists (select from pg_stat_replication)"),
            what="the end of replication",
        )

    def fail_over(self) -> None:
        """The primary is gone for good, the standby takes its place."""
        self.primary.stop(signal.SIGQUIT)
        self.promote()

    def promote(self) -> None:
        # What it would wait for in its turn is gone.
        with psycopg.connect(self.standby.url, autocommit=True) as connection:
            connection.execute("alter system set synchronous_standby_names = ''")
            connection.execute("select pg_promote()")


@contextmanager
def replicated() -> Iterator[Pair]:
    with private_cluster.cluster() as primary:
        made = Pair(primary)
        try:
            yield made
        finally:
            made.standby.stop(signal.SIGQUIT)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Asserts at the end that the doctor finds nothing on the one that was promoted."""
    with replicated() as made:
        yield made
        last = made.primary if made.on(made.standby, "select pg_is_in_recovery()") else made.standby
        with psycopg.connect(Pair.url_of(last)) as connection:
            found = connection.execute("select * from pyengine.doctor()").fetchall()
        assert found == [], f"doctor found broken invariants: {found}"


@pytest.fixture
def new_pair() -> Callable[[], AbstractContextManager[Pair]]:
    return replicated
