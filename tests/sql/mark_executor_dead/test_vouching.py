from __future__ import annotations

from collections.abc import Callable

from plugins.executors import Executor, rows


def test_repeat_says_true_and_keeps_the_first_reason(new_executor: Callable[..., Executor]) -> None:
    witness, other = new_executor(), new_executor()

    assert witness.mark_dead(other, "process_gone")
    assert witness.mark_dead(other, "child_died")
    assert other.dead_reason == "process_gone"


def test_wrong_nonce_marks_nobody(new_executor: Callable[..., Executor]) -> None:
    witness, other = new_executor(), new_executor()
    other.nonce += 1

    assert not witness.mark_dead(other)
    assert other.dead_reason is None


def test_host_lists_who_has_not_handed_over(new_executor: Callable[..., Executor]) -> None:
    alive, dead, done = new_executor(pid=1), new_executor(pid=2), new_executor(pid=3)
    new_executor(boot_id="another boot")
    new_executor(pid_namespace="another namespace")
    dead.retire()
    done.retire()
    alive.take_over(done)
    listed = rows(alive.connection, "list_host_executors", boot_id="boot", pid_namespace="ns")

    assert [(found["executor_id"], found["nonce"], found["pid"]) for found in listed] == [
        (alive.id, alive.nonce, 1),
        (dead.id, dead.nonce, 2),
    ]
