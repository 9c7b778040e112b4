"""Who waits for the end of workflows says so, and is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

Sessions = Callable[..., psycopg.Connection[Any]]


def heard(connection: psycopg.Connection[Any], count: int) -> list[tuple[str, str]]:
    found = connection.notifies(timeout=10, stop_after=count)
    return sorted((notify.channel.partition("_")[0], notify.payload) for notify in found)


def test_executors_of_the_application_hear_who_waits_for_what(session_factory: Sessions) -> None:
    ear, voice = session_factory(), session_factory()
    ear.execute("select pyengine.listen_to_waits('shop', 'one')")
    voice.execute("select pyengine.notify_waits('office', 'two', array['c'])")
    voice.execute("select pyengine.notify_waits('shop', 'two', array['a', 'b b'])")

    assert heard(ear, 2) == [("waits", "two a"), ("waits", "two b b")]


def test_only_the_listener_that_waits_is_told_of_the_end(session_factory: Sessions) -> None:
    one, two, voice = session_factory(), session_factory(), session_factory()
    one.execute("select pyengine.listen_to_waits('shop', 'one')")
    two.execute("select pyengine.listen_to_waits('shop', 'two')")
    voice.execute("select pyengine.notify_ends(array['one', 'two', 'one'], array['a', 'b', 'c'])")

    assert heard(one, 2) == [("ends", "a"), ("ends", "c")]
    assert heard(two, 1) == [("ends", "b")]


def test_what_no_notification_carries_is_left_out(session_factory: Sessions) -> None:
    ear, voice = session_factory(), session_factory()
    ear.execute("select pyengine.listen_to_waits('shop', 'one')")
    for length in (7000, 9000):
        voice.execute("select pyengine.notify_waits('shop', 'two', array[repeat('x', %s), 'a'])", (length,))
        voice.execute("select pyengine.notify_ends(array['one', 'one'], array[repeat('x', %s), 'b'])", (length,))

    assert heard(ear, 4) == [("ends", "b")] * 2 + [("waits", "two a")] * 2
