"""A configuration resolved away from the real environment and folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyengine.config import Config, resolve
from pyengine.config.notes import announcer

Resolve = Callable[..., Config]


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> Iterator[None]:
    announcer.forget()
    yield
    announcer.forget()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "greetings"
    folder.mkdir()
    return folder


@pytest.fixture
def resolved(home: Path) -> Resolve:
    """`resolve` in an empty folder and environment; `file=` is written there as dbos-config.yaml first."""

    def call(
        argument: dict[str, object] | None = None,
        *,
        flag: str | None = None,
        environ: dict[str, str] | None = None,
        file: str | None = None,
    ) -> Config:
        if file is not None:
            (home / "dbos-config.yaml").write_text(file, encoding="utf-8")
        return resolve(argument, url_flag=flag, environ=environ or {}, cwd=home, announce=False)

    return call
