"""Simulated hosts of the benchmarks: a link that delays and loses nothing, a machine of its own where root allows."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.hosts import DELAY_SECONDS, Host, hosts
from plugins.chaos import network


@pytest.fixture(params=["as allowed", "without root"])
def pair(
    empty_database_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Host]]:
    if request.param == "without root":
        monkeypatch.setattr(network, "has_namespaces", lambda: False)
    with hosts(2, empty_database_url) as made:
        yield made


def test_nothing_passes_sooner_than_the_delay(pair: list[Host]) -> None:
    with psycopg.connect(pair[0].url, autocommit=True) as connection:
        for _ in range(5):
            began = time.monotonic()
            connection.execute("select")
            assert time.monotonic() - began >= 2 * DELAY_SECONDS


def test_much_data_passes_whole_in_both_directions(pair: list[Host]) -> None:
    much = "x" * 8_000_000

    with psycopg.connect(pair[0].url) as one, psycopg.connect(pair[1].url) as other:
        for connection in (one, other, one):
            assert connection.execute("select %s::text", (much,)).fetchone() == (much,)


def test_the_end_of_a_connection_is_told(pair: list[Host], empty_database_url: str) -> None:
    with psycopg.connect(pair[0].url) as far, psycopg.connect(empty_database_url, autocommit=True) as near:
        near.execute("select pg_terminate_backend(%s)", (far.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            far.execute("select")

    with psycopg.connect(pair[0].url) as again:
        assert again.execute("select 1").fetchone() == (1,)


def test_no_two_hosts_are_one_machine(pair: list[Host]) -> None:
    if not network.has_namespaces():
        assert all("NO identity" in host.note for host in pair)
        return
    asked = ("cat", "/proc/sys/kernel/random/boot_id")
    said = [subprocess.run(host.command(*asked), capture_output=True, check=True).stdout for host in pair]

    assert len({*said, Path(asked[1]).read_bytes()}) == 3
