"""A cluster of the test's own, that it may stop, crash and start again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from plugins import private_cluster
from plugins.database import install_schema, with_database
from plugins.private_cluster import Cluster

OUTAGE_DATABASE = "outage"


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    if private_cluster.binaries() is None:
        pytest.skip(private_cluster.describe())
    with private_cluster.cluster() as made:
        yield made


@pytest.fixture
def own_database_url(own_cluster: Cluster) -> Iterator[str]:
    """A database with the schema in that cluster; the doctor looks at it in the end."""
    with psycopg.connect(own_cluster.url, autocommit=True) as connection:
        connection.execute(f"create database {OUTAGE_DATABASE}".encode())
    url = with_database(own_cluster.url, OUTAGE_DATABASE)
    install_schema(url)
    yield url
    with psycopg.connect(url) as connection:
        found = connection.execute("select * from pyengine.doctor()").fetchall()
    assert found == [], f"doctor found broken invariants: {found}"
