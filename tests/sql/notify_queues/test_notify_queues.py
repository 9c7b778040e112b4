from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

Sessions = Callable[..., psycopg.Connection[Any]]


def heard(connection: psycopg.Connection[Any], count: int) -> list[str]:
    return sorted(notify.payload for notify in connection.notifies(timeout=10, stop_after=count))


def test_listeners_of_the_application_are_told(session_factory: Sessions) -> None:
    ear, voice = session_factory(), session_factory()
    ear.execute("select pyengine.listen_to_queues('shop')")
    voice.execute("select pyengine.notify_queues('shop', array['orders', 'mail'])")

    assert heard(ear, 2) == ["mail", "orders"]


def test_other_applications_are_not_told(session_factory: Sessions) -> None:
    ear, voice = session_factory(), session_factory()
    ear.execute("select pyengine.listen_to_queues('shop')")
    voice.execute("select pyengine.notify_queues('office', array['orders'])")
    voice.execute("select pyengine.notify_queues('shop', array['last'])")

    assert heard(ear, 1) == ["last"]


def test_an_application_may_have_any_name(session_factory: Sessions) -> None:
    name = 'Ein "sehr" langer Name: ' + "ä" * 200
    ear, voice = session_factory(), session_factory()
    ear.execute("select pyengine.listen_to_queues(%s)", (name,))
    voice.execute("select pyengine.notify_queues(%s, array[''])", (name,))

    assert heard(ear, 1) == [""]
