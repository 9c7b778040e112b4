"""One logger, one handler on stderr, silent where the application logs by itself."""

from __future__ import annotations

import functools
import io
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

import pytest

from pyengine import logs

P = ParamSpec("P")
LINE = re.compile(r"\d\d:\d\d:\d\d \[    INFO\] \(dbos:test_logs\.py:\d+\) Initializing DBOS\n")


@pytest.fixture
def _plain_logging() -> Iterator[None]:
    level = logs.logger.level
    yield
    logs.logger.setLevel(level)


def plain(test: Callable[P, None]) -> Callable[P, None]:
    """Run the test without handlers anywhere, as in a program that configured none.

    No fixture can do this: pytest adds its own handlers to the root logger between the fixtures and the test.
    """

    @pytest.mark.usefixtures("_plain_logging")
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logging.getLogger(), "handlers", [])
            patch.setattr(logs.logger, "handlers", [])
            test(*args, **kwargs)

    return run


@plain
def test_a_line_has_the_format_of_the_tutorial_and_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()

    logs.logger.info("Initializing DBOS")

    shown = capsys.readouterr()
    assert LINE.fullmatch(shown.err)
    assert shown.out == ""


@plain
def test_configuring_twice_changes_levels_and_doubles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("ERROR")
    logs.configure("DEBUG")
    logs.logger.debug("once")
    logs.configure("error")
    logs.logger.warning("not shown")

    assert capsys.readouterr().err.count("\n") == 1
    assert len(logs.logger.handlers) == 1


@plain
def test_stderr_is_looked_up_when_a_line_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure()
    elsewhere = io.StringIO()
    monkeypatch.setattr(sys, "stderr", elsewhere)

    logs.logger.info("here")

    assert elsewhere.getvalue().endswith("here\n")


@plain
@pytest.mark.parametrize("stderr", [None, "closed"])
def test_a_missing_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch, stderr: str | None) -> None:
    logs.configure()
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr(sys, "stderr", None if stderr is None else gone)

    logs.logger.info("nowhere")


@plain
def test_the_console_may_say_more_or_less_than_the_logger(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "DEBUG")
    logs.logger.debug("more")
    logs.configure("INFO", "ERROR")
    logs.logger.info("less")

    assert capsys.readouterr().err.endswith("more\n")
    assert logs.logger.isEnabledFor(logging.INFO)


@plain
@pytest.mark.parametrize("where", ["", "dbos"])
@pytest.mark.parametrize("before", [True, False])
def test_a_handler_of_the_application_takes_over(capsys: pytest.CaptureFixture[str], where: str, before: bool) -> None:
    theirs = io.StringIO()
    handler = logging.StreamHandler(theirs)
    if not before:
        logs.configure()
    logging.getLogger(where).addHandler(handler)
    if before:
        logs.configure()

    logs.logger.warning("to them")

    assert theirs.getvalue() == "to them\n"
    assert capsys.readouterr().err == ""


@plain
def test_a_null_handler_does_not_silence_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    logs.configure()

    logs.logger.warning("shown")

    assert capsys.readouterr().err.count("shown") == 1


@plain
def test_an_exporter_does_not_silence_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    class Exporter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            pass

    Exporter.__module__ = "opentelemetry.sdk._logs"
    logging.getLogger().addHandler(Exporter())
    logs.configure()

    logs.logger.warning("shown")

    assert capsys.readouterr().err.count("shown") == 1


@plain
def test_caplog_sees_the_records(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger().addHandler(caplog.handler)
    logs.configure()

    logs.logger.info("seen %s", 1)

    assert caplog.messages == ["seen 1"]


@pytest.mark.parametrize(("value", "number"), [("info", 20), (" Warning ", 30), ("WARN", 30), (15, 15), (0, 0)])
def test_levels_are_names_or_numbers(value: int | str, number: int) -> None:
    assert logs.parse_level(value) == number


@pytest.mark.parametrize("value", ["", "loud", "Level 7", -1, True, None, 2.5])
def test_what_is_no_level_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"level|needed"):
        logs.parse_level(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("setup", ["", "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False})"])
def test_in_a_program_of_its_own_each_line_appears_once(setup: str) -> None:
    program = f"""
import logging, logging.config
from pyengine import logs
logs.configure()
{setup}
logs.logger.warning("once")
"""
    root = Path(logs.__file__).parents[1]

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)

    assert done.stdout == ""
    assert done.stderr.count("once") == 1
    assert " [ WARNING] (dbos:<string>:6) once" in done.stderr
