from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plugins.executors import Executor, read, row


def test_same_nonce_gets_the_first_registration(executor: Executor) -> None:
    again = row(executor.connection, "register_executor", **executor.registration)

    assert again["executor_id"] == executor.id
    assert again["server_identity"] == executor.registered["server_identity"]
    assert len(read(executor.connection, "select 1 from pyengine.executors")) == 1


def test_lease_begins_at_registration(executor: Executor) -> None:
    stored = executor.stored()

    assert stored["lease_expires_at"] - stored["registered_at"] == stored["lease_ttl"]


def test_server_identity_names_system_timeline_and_tables(executor: Executor) -> None:
    system, timeline, table = executor.registered["server_identity"].split("/")

    assert int(system) > 0
    assert timeline == "00000001"
    assert int(table) > 0


def test_first_sight_of_a_version_promotes_it(new_executor: Callable[..., Executor]) -> None:
    first, second = new_executor(app_version="v1"), new_executor(app_version="v2")

    assert first.registered["is_latest_version"]
    assert second.registered["is_latest_version"]
    assert not new_executor(app_version="v1").registered["is_latest_version"]
    assert not first.tick()["accepts_unversioned"]
    assert second.tick()["accepts_unversioned"]


def test_old_version_accepts_unversioned_work_when_the_new_one_is_gone(new_executor: Callable[..., Executor]) -> None:
    first, second = new_executor(app_version="v1"), new_executor(app_version="v2")
    second.retire()

    assert first.tick()["accepts_unversioned"]


def test_other_applications_do_not_matter(new_executor: Callable[..., Executor]) -> None:
    first = new_executor(app_version="v1")
    new_executor(application="other", app_version="v2")

    assert first.tick()["accepts_unversioned"]


def test_protocol_that_is_not_served_is_refused(executor: Executor, session: psycopg.Connection[Any]) -> None:
    session.execute("update pyengine.engine set oldest_protocol = 2")

    with pytest.raises(psycopg.Error) as caught:
        row(session, "register_executor", **(executor.registration | {"nonce": 5}))
    assert caught.value.sqlstate == "WF006"
