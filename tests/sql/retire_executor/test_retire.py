from __future__ import annotations

import psycopg
import pytest

from plugins.executors import Executor


def test_first_reason_stays(executor: Executor) -> None:
    executor.retire("retired")
    first = executor.stored()
    executor.retire("handed_over")

    assert executor.stored() == first
    assert first["dead_reason"] == "retired"


def test_reason_that_would_count_as_a_crash_is_refused(executor: Executor) -> None:
    with pytest.raises(psycopg.Error) as caught:
        executor.retire("shutdown")
    assert caught.value.sqlstate == "WF101"
    assert executor.dead_reason is None
