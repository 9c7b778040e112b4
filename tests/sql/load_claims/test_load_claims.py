from __future__ import annotations

from plugins.executors import Executor, rows


def test_lost_starts_are_described(executor: Executor) -> None:
    executor.start("w", fence=5, inputs=b"j[]", authenticated_roles=["a"])
    executor.start("other", fence=6)
    executor.start("large", fence=7, inputs=b"x" * 70_000)
    found = {claim["workflow_id"]: claim for claim in rows(
        executor.connection, "load_claims", **executor.me, fences=[5, 7, 8]
    )}  # fmt: skip

    assert set(found) == {"w", "large"}
    assert (found["w"]["verdict"], found["w"]["inputs"], found["w"]["fence"]) == ("claimed", b"j[]", 5)
    assert found["w"]["authenticated_roles"] == ["a"]
    assert (found["large"]["verdict"], found["large"]["inputs"]) == ("claimed_large", None)


def test_only_the_callers_claims(executor: Executor) -> None:
    executor.start("w", fence=5)
    other = Executor(executor.connection)

    assert rows(other.connection, "load_claims", **other.me, fences=[5]) == []
