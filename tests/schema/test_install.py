"""Installing: once, again, by several at once, under another name, and where it must not be done."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from plugins.sessions import wait_until
from pyengine import schema
from pyengine.errors import DBOSInitializationError
from pyengine.schema.sources import Migration, Sources

# The package's name `install` is the function.
installer = importlib.import_module("pyengine.schema.install")

InBackground = Callable[..., "Future[Any]"]


def objects_in(connection: psycopg.Connection[Any], name: str) -> set[tuple[str, str]]:
    rows = connection.execute(
        """
        select c.relkind::text, c.relname::text
          from pg_class as c where c.relnamespace = quote_ident(%(s)s)::regnamespace
        union all
        select 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
          from pg_proc as p where p.pronamespace = quote_ident(%(s)s)::regnamespace
        """,
        {"s": name},
    )
    return set(rows.fetchall())


def newest_write(connection: psycopg.Connection[Any]) -> int:
    """The newest transaction that wrote a row an install could write. Of this database: others share the server."""
    catalogs = ("pg_namespace", "pg_class", "pg_attribute", "pg_proc", "pg_description", "pg_constraint", "pg_rewrite")
    tables = (*catalogs, "pyengine.engine", "pyengine.migrations")
    writers = " union all ".join(f"select xmin::text::bigint as writer from {table}" for table in tables)
    row = connection.execute(f"select max(w.writer) from ({writers}) as w".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_fresh_database_gets_everything_and_says_so(empty_database_url: str, shipped: Sources) -> None:
    report = schema.install(empty_database_url)

    assert report.created_schema
    assert report.migrations == [migration.label for migration in shipped.migrations]
    assert report.functions_created == [function.name for function in shipped.functions]
    assert report.lines()[0] == "created schema 'pyengine'"
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("select pyengine.schema_version(), pyengine.oldest_protocol()").fetchone()
    assert row == (shipped.version, schema.OLDEST_PROTOCOL)


def test_a_second_install_writes_nothing(empty_database_url: str) -> None:
    schema.install(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        before = newest_write(connection)
        report = schema.install(empty_database_url)
        after = newest_write(connection)

    assert not report.changed
    assert report.lines() == [f"schema 'pyengine' is current (version {report.version}): nothing to do"]
    assert after == before


def test_an_installed_schema_costs_a_launch_one_query(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes | str] = []
    execute = psycopg.Connection.execute

    def counting(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        asked.append(query)
        return execute(self, query, *arguments, **named)

    monkeypatch.setattr(psycopg.Connection, "execute", counting)
    prepared = schema.prepare(database_url)

    assert prepared.verdict.state == "current"
    assert prepared.lines() == []
    assert len(asked) == 1


def _install_in_process(url: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    try:
        schema.ensure_database(url)
        report = schema.install(url)
        results.put((report.changed, report.waited))
    except BaseException as exc:
        results.put(repr(exc))


def test_many_processes_at_once_install_once(empty_database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(6), context.Queue()
    processes = [
        context.Process(target=_install_in_process, args=(empty_database_url, barrier, results)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    assert sum(outcome[0] is True for outcome in outcomes) == 1, outcomes


def test_the_second_installer_waits_and_finds_nothing_to_do(
    empty_database_url: str, in_background: InBackground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "sleep", lambda seconds: None)
    with psycopg.connect(empty_database_url, autocommit=True) as observer, psycopg.connect(empty_database_url) as first:
        first.execute("select pg_advisory_xact_lock(hashtextextended('pyengine.install:pyengine', 0))")
        second = in_background(schema.install, empty_database_url)
        wait_until(lambda: _advisory_waiters(observer) == 1, what="a waiting installer")
        third = in_background(schema.install, empty_database_url)
        wait_until(lambda: _advisory_waiters(observer) == 2, what="two waiting installers")
        first.rollback()

        reports = [second.result(timeout=30), third.result(timeout=30)]

    assert all(report.waited for report in reports)
    assert sorted(report.changed for report in reports) == [False, True]


def _advisory_waiters(observer: psycopg.Connection[Any]) -> int:
    row = observer.execute(
        "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        " and database = (select oid from pg_database where datname = current_database())"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_the_wait_for_another_installer_is_bounded(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "sleep", lambda seconds: None)
    with psycopg.connect(empty_database_url) as holder:
        holder.execute("select pg_advisory_xact_lock(hashtextextended('pyengine.install:pyengine', 0))")
        with pytest.raises(psycopg.errors.LockNotAvailable) as raised:
            schema.install(empty_database_url, wait_seconds=0.02)

    assert "held a lock for too long" in schema.explain(raised.value, empty_database_url)


def test_a_migration_that_waits_for_a_table_gives_up_and_tries_again(
    empty_database_url: str, shipped: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.install(empty_database_url)
    new = Migration(shipped.version + 1, "wider", "alter table pyengine.schedules add column note text;")
    newer = replace(shipped, migrations=(*shipped.migrations, new))
    with psycopg.connect(empty_database_url) as reader:
        reader.execute("select from pyengine.schedules")
        naps: list[float] = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            reader.rollback()

        monkeypatch.setattr(installer, "sleep", nap)
        report = schema.install(empty_database_url, lock_timeout_seconds=0.05, sources=newer)

    assert report.migrations == [new.label]
    assert len(naps) == 1


def test_a_failing_migration_leaves_everything_as_it_was(empty_database_url: str, shipped: Sources) -> None:
    schema.install(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        before = objects_in(connection, "pyengine")
        bad = Migration(shipped.version + 1, "bad", "create table pyengine.fine (a integer);\nselect 1 / 0 as a;")
        with pytest.raises(psycopg.errors.DivisionByZero):
            schema.install(empty_database_url, sources=replace(shipped, migrations=(*shipped.migrations, bad)))
        assert objects_in(connection, "pyengine") == before
    assert schema.check(empty_database_url).current


def test_a_changed_applied_migration_is_a_warning(empty_database_url: str, shipped: Sources) -> None:
    schema.install(empty_database_url)
    last = shipped.migrations[-1]
    edited = replace(shipped, migrations=(*shipped.migrations[:-1], replace(last, text=last.text + "-- edited\n")))

    assert last.label in schema.check(empty_database_url, sources=edited).warnings[0]
    report = schema.install(empty_database_url, sources=edited)

    assert report.migrations == []
    assert last.label in report.warnings[0]


@pytest.mark.parametrize("name", ["engine_of_mine", "My Engine", "select", "größe-1", "pyengine2"])
def test_another_schema_name(empty_database_url: str, name: str) -> None:
    schema.install(empty_database_url)
    report = schema.install(empty_database_url, name)

    assert report.created_schema
    assert not schema.install(empty_database_url, name).changed
    with psycopg.connect(empty_database_url) as connection:
        assert objects_in(connection, name) == objects_in(connection, "pyengine")
        quoted = schema.Schema(name).quoted
        row = connection.execute(f"select {quoted}.schema_version()".encode()).fetchone()
        mentions = connection.execute(
            "select p.proname::text from pg_proc as p where p.pronamespace = quote_ident(%s)::regnamespace"
            r" and p.prosrc ~ '(^|[^\w\"])pyengine\.'",
            (name,),
        ).fetchall()
    assert row == (report.version,)
    assert mentions == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "public",
        "Public",
        "pg_catalog",
        "pg_mine",
        "information_schema",
        'a"b',
        "a'b",
        "a$b",
        "a.b",
        "a\\b",
        "x" * 64,
    ],
)
def test_a_dangerous_schema_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="schema name"):
        schema.valid_schema(name)
    with pytest.raises(DBOSInitializationError, match="schema name"):
        schema.prepare("postgresql://nowhere.invalid/x", name)


@pytest.mark.parametrize("table", ["workflow_status", "operation_outputs", "dbos_migrations"])
def test_a_schema_with_the_tables_of_the_peer_is_refused(empty_database_url: str, table: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create schema dbos")
        connection.execute(f"create table dbos.{table} (id text)".encode())
        for attempt in (schema.install, schema.prepare, schema.check, schema.make_roles):
            with pytest.raises(DBOSInitializationError, match=f"{table}.*dbos_system_schema"):
                attempt(empty_database_url, "dbos")
        assert objects_in(connection, "dbos") == {("r", table)}


def test_a_schema_with_somebody_elses_tables_is_refused(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create schema shop")
        connection.execute("create table shop.orders (id text)")
    with pytest.raises(DBOSInitializationError, match=r"not the engine's \(orders\)"):
        schema.install(empty_database_url, "shop")


def test_an_empty_schema_made_by_somebody_else_is_used(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create schema pyengine")
    assert not schema.install(empty_database_url).created_schema


def test_role_defaults_do_not_decide_whether_an_install_works(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        row = connection.execute("select quote_ident(current_database())").fetchone()
        assert row is not None
        for setting in (
            "default_transaction_isolation = 'serializable'",
            "default_transaction_read_only = on",
            "statement_timeout = '1ms'",
            "search_path = ''",
            "quote_all_identifiers = on",
        ):
            connection.execute(f"alter database {row[0]} set {setting}".encode())
    url = f"{empty_database_url}{'&' if '?' in empty_database_url else '?'}options=-c%20statement_timeout%3D5s"
    assert schema.install(url).changed


def test_the_printed_text_installs_the_same(
    empty_database_url: str, another_database: Callable[..., Any], shipped: Sources
) -> None:
    import shutil
    import subprocess

    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("no psql on the PATH")
    schema.install(empty_database_url, "My Engine")
    with another_database(empty=True) as url:
        for _ in range(2):
            done = subprocess.run(
                [psql, "-X", "-d", url], input=schema.render("My Engine"), text=True, capture_output=True, check=True
            )
            assert done.stderr == ""
        assert schema.check(url, "My Engine").current
        with psycopg.connect(empty_database_url) as one, psycopg.connect(url) as other:
            assert objects_in(one, "My Engine") == objects_in(other, "My Engine")
            query = b'select name, argument_types, checksum from "My Engine".installed_functions order by name'
            assert one.execute(query).fetchall() == other.execute(query).fetchall()
