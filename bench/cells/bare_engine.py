"""The schema and one executor that nobody takes for dead, for cells that call the functions without the engine."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import psycopg

APPLICATION = {"application": "bench", "app_version": "v1"}
PAYLOAD = b"x" * 64


def install(url: str) -> dict[str, int]:
    """What an executor calls itself."""
    from pyengine.db import calls
    from pyengine.schema.install import install

    install(url)
    nonce = secrets.randbits(62)
    with psycopg.connect(url, autocommit=True) as connection:
        registered = ask(
            connection, calls.register_executor, nonce=nonce, label="bench", host="bench", pid=1, boot_id="b",
            pid_namespace="n", process_started="1", **APPLICATION, protocol=1, lease_ttl=timedelta(hours=1),
            seat="bench", is_supervised=False, is_isolated=False, is_pooled=False,
        )  # fmt: skip
        ask(connection, calls.put_queue, application="bench", queue="work", is_partitioned=False)
    return {"executor_id": int(registered[0]), "nonce": nonce}


def arguments(function: Any, **given: Any) -> dict[str, Any]:
    """What is not given is null."""
    return {name: None for name, _ in function.arguments} | given


def ask(connection: Any, function: Any, **given: Any) -> Any:
    from pyengine.db.function import statement

    found = connection.execute(
        statement(function, "pyengine"), function.bind(arguments(function, **given)), binary=True
    ).fetchone()
    assert found is not None
    return found
