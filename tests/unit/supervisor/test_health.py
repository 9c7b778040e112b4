"""What a probe is told, judged from the board alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyengine.supervisor.address import parse_address
from pyengine.supervisor.board import Board, Kind, Phase, Slot, State
from pyengine.supervisor.health import judge

MINUTE = 60 * 1_000_000_000


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(4)
    made.head.parent_stamp = time.monotonic_ns()
    seat(made, 0, kind=Kind.WARDEN)
    yield made
    made.close()


def seat(board: Board, number: int, **fields: Any) -> Slot:
    """A child in order, but for what is said."""
    slot, now = board.slots[number], time.monotonic_ns()
    given = {"generation": 1, "state": State.ALIVE, "kind": Kind.EXECUTOR, "phase": Phase.READY, "stamp": now}
    for name, value in ({**given, "renewed_at": now, "started_at": now} | fields).items():
        setattr(slot, name, value)
    slot.write_place({"lease_ttl_seconds": 15.0})
    return slot


def test_a_worker_in_order_is_ready(board: Board) -> None:
    seat(board, 1, busy=2, done=7)
    seat(board, 2, busy=1, done=5)

    report = judge(board, processes=2)

    assert (report.live, report.ready, report.problems) == (True, True, ())
    assert (report.executors, report.running, report.done) == (2, 3, 12)


def test_before_the_first_has_launched_it_is_alive_and_not_ready(board: Board) -> None:
    seat(board, 1, phase=Phase.STARTING)

    report = judge(board, processes=2)

    assert (report.live, report.ready) == (True, False)
    assert report.problems == ("no executor process has launched",)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"renewed_at": time.monotonic_ns() - MINUTE, "stamp": time.monotonic_ns() - MINUTE}, "holds its lease"),
        ({"declared_dead": 1}, "holds its lease"),
        ({"is_fenced": 1}, "holds its lease"),
        ({"is_unserved": 1}, "serves only newer engines"),
    ],
)
def test_an_executor_that_may_not_work_makes_it_unready(board: Board, fields: dict[str, int], problem: str) -> None:
    seat(board, 1, **fields)

    report = judge(board, processes=1)

    assert (report.live, report.ready) == (True, False)
    assert problem in report.problems[0]


def test_a_lease_that_the_warden_renews_is_held_though_the_interpreter_is(board: Board) -> None:
    seat(board, 1, stamp=time.monotonic_ns() - MINUTE)

    assert judge(board, processes=1).ready


def test_one_process_of_several_is_enough_and_the_rest_is_told(board: Board) -> None:
    seat(board, 1)

    report = judge(board, processes=2)

    assert (report.live, report.ready) == (True, True)
    assert report.problems == ("1 of 2 executor processes hold their lease",)


def test_a_draining_worker_is_alive_and_not_ready(board: Board) -> None:
    seat(board, 1)
    board.head.is_draining = 1

    report = judge(board, processes=1)

    assert (report.live, report.ready, report.problems) == (True, False, ("it is draining",))


def test_a_supervisor_that_has_stopped_is_not_alive(board: Board) -> None:
    seat(board, 1)
    board.head.parent_stamp = time.monotonic_ns() - MINUTE

    report = judge(board, processes=1)

    assert (report.live, report.ready, report.problems) == (False, False, ("the supervisor has stopped",))


def test_a_warden_whose_loop_does_not_turn_is_not_alive(board: Board) -> None:
    seat(board, 0, kind=Kind.WARDEN, stamp=time.monotonic_ns() - 2 * MINUTE)
    seat(board, 1)

    assert judge(board, processes=1).problems == ("the warden has stopped",)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8090", ("127.0.0.1", 8090)),
        (":8090", ("", 8090)),
        ("[::1]:8090", ("::1", 8090)),
        ("db.internal:1", ("db.internal", 1)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["8090", "host", "host:", "host:port", "host:70000", "::1:8090", ""])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8090|\[::1\]:8090"):
        parse_address(text)


@pytest.mark.parametrize(("minutes", "is_ready"), [(2, True), (4, False)])
def test_an_executor_that_rests_holds_a_longer_lease(board: Board, minutes: int, is_ready: bool) -> None:
    then = time.monotonic_ns() - minutes * MINUTE
    seat(board, 1, renewed_at=then, stamp=then, rests_every=MINUTE)

    assert judge(board, processes=1).ready is is_ready
