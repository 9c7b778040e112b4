"""The board: numbers and texts that processes tell each other."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pyengine.supervisor.board import Board, Killed, Kind, Phase, Slot, State
from pyengine.supervisor.obituary import killing_order, obituary

ORDER = {
    "at": 5.0, "seconds": 2.0, "workflow_id": "w-1", "fence": 2**62, "step_id": 3, "step_name": "charge", "attempt": 0,
}  # fmt: skip


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(4)
    yield made
    made.close()


@pytest.fixture
def slot(board: Board) -> Slot:
    slot = board.slots[1]
    slot.generation, slot.state, slot.pid, slot.executor_id = 1, State.ALIVE, 4711, 9
    return slot


def test_another_process_reads_what_was_written_and_is_read(board: Board, slot: Slot) -> None:
    slot.nonce = 2**63 - 1

    pid = os.fork()
    if not pid:
        slot.done = slot.nonce - 1
        slot.write_place({"url": "postgresql://here"})
        os._exit(0)
    os.waitpid(pid, 0)

    assert slot.done == 2**63 - 2
    assert slot.read_place() == {"url": "postgresql://here"}


def test_slots_do_not_touch_each_other(board: Board) -> None:
    for number, slot in enumerate(board.slots):
        slot.executor_id = number
        slot.write_order({"workflow_id": "x" * 3000 + str(number)}, number + 1)
    board.head.parent_pid = 77

    assert [slot.executor_id for slot in board.slots] == [0, 1, 2, 3]
    assert [slot.order_at for slot in board.slots] == [1, 2, 3, 4]
    read = [slot.read_order() for slot in board.slots]
    assert [order and order["workflow_id"][-1] for order in read] == ["0", "1", "2", "3"]


def test_a_text_that_was_not_written_to_its_end_is_not_believed(slot: Slot) -> None:
    slot.write_order(ORDER, 5)
    slot._order[3:9] = b"??????"

    assert slot.read_order() is None


def test_a_text_that_does_not_fit_is_nobody_s(slot: Slot) -> None:
    slot.write_order({"workflow_id": "x" * 5000}, 5)

    assert slot.order_at == 5  # it is killed all the same
    assert slot.read_order() is None


def test_a_slot_of_its_own_for_the_living_and_the_unburied(board: Board, slot: Slot) -> None:
    assert [each.number for each in board.executors()] == [1]
    slot.state = State.DEAD
    assert [each.number for each in board.unburied()] == [1]
    assert list(board.alive()) == []

    slot.buried = slot.generation

    assert list(board.unburied()) == []


def test_a_warden_is_no_executor(board: Board, slot: Slot) -> None:
    slot.kind = Kind.WARDEN

    assert list(board.executors()) == []


def test_who_never_registered_left_nothing(board: Board, slot: Slot) -> None:
    slot.executor_id, slot.state = 0, State.DEAD

    assert list(board.unburied()) == []


# -- what is written down of the dead -----------------------------------------------------------------


def test_a_signal_is_named_and_memory_told(slot: Slot) -> None:
    slot.exit_code, slot.peak_rss = -signal.SIGSEGV, 300 * 2**20

    told = obituary(slot)

    assert told.reason == "child_died"
    assert told.detail == "process 4711 was ended by SIGSEGV (11), peak memory 300 MB"


def test_the_kernel_s_killer_is_named(slot: Slot) -> None:
    slot.exit_code, slot.oom_kills = -signal.SIGKILL, 1

    assert "SIGKILL (9), out of memory" in obituary(slot).detail


def test_who_was_killed_for_a_step_names_it(slot: Slot) -> None:
    slot.write_order(ORDER, 5)
    slot.exit_code, slot.killed, slot.killed_order_at = -signal.SIGKILL, Killed.ORDER, 5

    told = obituary(slot)

    assert told.reason == "killed"
    assert told.order == ORDER
    assert "step charge of workflow w-1 took longer than 2.0 s" in told.detail


@pytest.mark.parametrize("later", [0, 6])
def test_who_was_done_when_the_signal_came_is_no_culprit(slot: Slot, later: int) -> None:
    slot.write_order(ORDER, 5)
    slot.exit_code, slot.killed, slot.killed_order_at = -signal.SIGKILL, Killed.ORDER, 5
    slot.write_order(ORDER if later else None, later)

    assert killing_order(slot) is None
    assert obituary(slot).reason == "killed"


def test_an_end_in_good_order_is_no_crash(slot: Slot) -> None:
    slot.exit_code, slot.phase = 0, Phase.DRAINING

    assert obituary(slot).reason == "retired"


def test_exit_code_0_in_the_middle_of_work_is_a_crash(slot: Slot) -> None:
    slot.exit_code, slot.phase = 0, Phase.READY

    assert obituary(slot).reason == "child_died"
