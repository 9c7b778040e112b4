from __future__ import annotations

import psycopg
import pytest

from plugins.executors import Connection, value
from plugins.queueing import enqueue


def test_inputs_of_any_size(session: Connection) -> None:
    enqueue(session, "w", inputs=b"x" * 1_000_000)

    assert len(value(session, "get_inputs", workflow_id="w")) == 1_000_000


def test_an_unknown_workflow_is_an_error(session: Connection) -> None:
    with pytest.raises(psycopg.Error) as refused:
        value(session, "get_inputs", workflow_id="nobody")

    assert refused.value.sqlstate == "WF004"
