"""Installing without being superuser, and roles of least privilege."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from plugins.logins import Roles, as_role
from pyengine import schema
from pyengine.errors import DBOSInitializationError
from pyengine.schema.sources import Sources

FunctionEdit = Callable[..., Sources]
FunctionText = Callable[..., str]


def database_of(url: str) -> str:
    return url.rsplit("/", 1)[1].split("?")[0]


@pytest.fixture
def migrator(roles: Roles, empty_database_url: str) -> str:
    """URL of a role whose only right is CREATE on the database."""
    role, password = roles.login("migrator")
    roles.grant("grant create on database {database} to {role}", database=database_of(empty_database_url), role=role)
    return as_role(empty_database_url, role, password)


@pytest.fixture
def stranger(roles: Roles, empty_database_url: str) -> str:
    """URL of a role without any right."""
    return as_role(empty_database_url, *roles.login("stranger"))


def test_a_role_that_may_create_schemas_installs_and_upgrades(
    migrator: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    assert schema.prepare(migrator).verdict.state == "current"
    schema.install(migrator, sources=with_function("sample", function_text()))
    report = schema.install(migrator, sources=with_function("sample", function_text(returns="text")))

    assert report.functions_replaced == ["sample"]


def test_the_owner_of_the_database_installs(roles: Roles, empty_database_url: str) -> None:
    role, password = roles.login("owner")
    database = database_of(empty_database_url)
    roles.grant("alter database {database} owner to {role}", database=database, role=role)
    url = as_role(empty_database_url, role, password)

    assert schema.install(url).created_schema
    assert schema.reset(url, yes=True) == [f"dropped schema 'pyengine' in database '{database}'; the database stays"]
    roles.grant("alter database {database} owner to current_user", database=database)


def test_a_role_that_may_use_an_empty_schema_installs_there(roles: Roles, empty_database_url: str) -> None:
    role, password = roles.login("tenant")
    roles.grant("create schema tenant")
    roles.grant("grant usage, create on schema tenant to {role}", role=role)
    url = as_role(empty_database_url, role, password)

    assert not schema.install(url, "tenant").created_schema
    assert not schema.install(url, "tenant").changed


def test_what_a_superuser_upgrades_still_belongs_to_the_owner(
    migrator: str, empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(migrator)
    schema.install(empty_database_url, sources=with_function("sample", function_text()))
    report = schema.install(migrator, sources=with_function("sample", function_text(returns="text")))

    assert report.functions_replaced == ["sample"]


def test_a_role_that_may_not_migrate_is_told_the_command_and_the_owner(
    stranger: str, roles: Roles, empty_database_url: str
) -> None:
    with pytest.raises(DBOSInitializationError, match=r"run `pyengine migrate`.*may not"):
        schema.prepare(stranger)
    with pytest.raises(DBOSInitializationError, match=r"may not migrate.*CREATE on the database"):
        schema.install(stranger)
    report = schema.check(stranger)
    assert not report.may_migrate
    assert any("may not migrate this schema" in line for line in report.lines())


def test_an_executor_role_runs_on_an_old_schema_only_after_somebody_migrated(
    made: dict[str, str], members: Callable[[str], str], empty_database_url: str, shipped: Sources
) -> None:
    executor = members("executor")
    assert schema.prepare(executor).verdict.state == "current"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("update pyengine.engine set schema_version = 0, digest = 'old'")

    with pytest.raises(DBOSInitializationError, match=r"run `pyengine migrate` as role .*_owner_"):
        schema.prepare(executor)


@pytest.fixture
def made(roles: Roles, empty_database_url: str) -> dict[str, str]:
    """An installed schema with the four roles; their names."""
    names = {kind: roles.name(kind) for kind in ("owner", "executor", "client", "reader")}
    schema.install(empty_database_url)
    lines = schema.make_roles(empty_database_url, **names)
    assert not [line for line in lines if line.startswith("not done")]
    return names


@pytest.fixture
def members(made: dict[str, str], roles: Roles, empty_database_url: str) -> Callable[[str], str]:
    """`members(kind)`: URL of a new login role in that group."""

    def login(kind: str) -> str:
        role, password = roles.login(f"{kind}_member")
        roles.grant("grant {group} to {role}", group=made[kind], role=role)
        return as_role(empty_database_url, role, password)

    return login


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_roles_cannot_log_in_and_making_them_again_changes_nothing(
    made: dict[str, str], empty_database_url: str
) -> None:
    with connected(empty_database_url) as connection:
        rows = connection.execute(
            "select rolcanlogin from pg_roles where rolname = any (%s)", (list(made.values()),)
        ).fetchall()
        assert rows == [(False,)] * 4
        before = privileges(connection)
        lines = schema.make_roles(empty_database_url, **made)
        assert privileges(connection) == before
    assert sum(" exists (" in line for line in lines) == 4


def privileges(connection: psycopg.Connection[Any]) -> list[Any]:
    return connection.execute(
        "select p.oid::regprocedure::text, p.proacl::text, pg_get_userbyid(p.proowner)::text from pg_proc as p"
        "  where p.pronamespace = 'pyengine'::regnamespace union all "
        "select c.oid::regclass::text, c.relacl::text, pg_get_userbyid(c.relowner)::text from pg_class as c"
        "  where c.relnamespace = 'pyengine'::regnamespace and c.relkind in ('r', 'v', 'S') order by 1"
    ).fetchall()


def test_every_member_of_the_owner_role_may_migrate(
    members: Callable[[str], str], with_function: FunctionEdit, function_text: FunctionText
) -> None:
    first, second = members("owner"), members("owner")
    schema.install(first, sources=with_function("sample", function_text()))
    report = schema.install(second, sources=with_function("sample", function_text(returns="text")))

    assert report.functions_replaced == ["sample"]


def test_who_owned_the_schema_keeps_its_rights_when_it_is_handed_over(
    migrator: str, roles: Roles, empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    schema.install(migrator)
    schema.make_roles(
        empty_database_url, **{kind: roles.name(kind) for kind in ("owner", "executor", "client", "reader")}
    )

    assert schema.install(migrator, sources=with_function("sample", function_text())).functions_created == ["sample"]


def test_a_missing_right_is_said_and_not_fatal(migrator: str, roles: Roles) -> None:
    schema.install(migrator)
    lines = schema.make_roles(migrator, **{k: f"{k}_{roles.mark}" for k in ("owner", "executor", "client", "reader")})

    assert len([line for line in lines if line.startswith("not done") and "create role" in line]) == 4


def test_a_role_that_may_create_roles_needs_no_superuser(
    roles: Roles, empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    role, password = roles.login("dba", "createrole")
    roles.grant("grant create on database {database} to {role}", database=database_of(empty_database_url), role=role)
    url = as_role(empty_database_url, role, password)
    schema.install(url)
    lines = schema.make_roles(url, **{kind: roles.name(kind) for kind in ("owner", "executor", "client", "reader")})

    assert not [line for line in lines if line.startswith("not done")], lines
    assert schema.install(url, sources=with_function("sample", function_text())).functions_created == ["sample"]


@pytest.mark.parametrize(
    "names", [{"owner": "pg_owner"}, {"client": "public"}, {"reader": " "}, {"owner": "same", "client": "same"}]
)
def test_dangerous_role_names_are_refused(names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="role"):
        schema.make_roles("postgresql://nowhere.invalid/x", **names)


def test_public_may_do_nothing(stranger: str, empty_database_url: str, made: dict[str, str]) -> None:
    with connected(empty_database_url) as connection:
        rows = connection.execute(
            "select p.oid::regprocedure::text from pg_proc as p"
            " where p.pronamespace = 'pyengine'::regnamespace and has_function_privilege('public', p.oid, 'execute')"
        ).fetchall()
        assert rows == []
    with connected(stranger) as connection:
        for query in ("select pyengine.schema_version()", "select * from pyengine.workflows"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query.encode())


def test_a_replaced_or_new_function_has_its_grants_and_is_closed_to_public(
    made: dict[str, str], empty_database_url: str, with_function: FunctionEdit, function_text: FunctionText
) -> None:
    def may(role: str) -> bool:
        with connected(empty_database_url) as connection:
            row = connection.execute(
                "select has_function_privilege(%s, p.oid, 'execute') from pg_proc as p"
                " where p.proname = 'sample' and p.pronamespace = 'pyengine'::regnamespace",
                (role,),
            ).fetchone()
            assert row is not None
            return bool(row[0])

    for text in (function_text(), function_text(returns="text")):
        schema.install(empty_database_url, sources=with_function("sample", text))
        assert (may(made["executor"]), may(made["client"]), may("public")) == (True, False, False)


def test_the_grants_follow_the_schema_to_its_other_name(roles: Roles, empty_database_url: str) -> None:
    names = {kind: roles.name(kind) for kind in ("owner", "executor", "client", "reader")}
    schema.install(empty_database_url, "My Engine")
    lines = schema.make_roles(empty_database_url, "My Engine", **names)
    assert not [line for line in lines if line.startswith("not done")], lines
    role, password = roles.login("member")
    roles.grant("grant {group} to {role}", group=names["reader"], role=role)
    with connected(as_role(empty_database_url, role, password)) as connection:
        assert connection.execute('select "My Engine".schema_version()').fetchone() is not None


def test_without_grants_a_changed_grants_file_is_an_upgrade(empty_database_url: str, shipped: Sources) -> None:
    schema.install(empty_database_url)
    assert schema.install(empty_database_url, sources=replace(shipped, grants=shipped.grants + "-- more\n")).changed


def test_a_reader_reads_and_writes_nothing(members: Callable[[str], str]) -> None:
    with connected(members("reader")) as connection:
        connection.execute("select pyengine.schema_version()")
        connection.execute("select count(*) from pyengine.workflows")
        for table in ("workflows", "in_flight", "outcomes", "checkpoints", "engine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("delete from pyengine.{}").format(sql.Identifier(table)))


def test_an_executor_may_not_touch_the_installers_tables(members: Callable[[str], str]) -> None:
    with connected(members("executor")) as connection:
        connection.execute("select pyengine.oldest_protocol()")
        connection.execute("delete from pyengine.in_flight")
        for table in ("engine", "migrations", "installed_functions"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("delete from pyengine.{}").format(sql.Identifier(table)))


ENQUEUE = """
    select verdict from pyengine.enqueue_workflow(
      p_executor_id => null, p_nonce => null, p_start_token => %(token)s, p_workflow_id => %(id)s, p_name => 'job',
      p_class_name => null, p_config_name => null, p_application => 'app', p_app_version => null, p_inputs => null,
      p_queue => 'q', p_partition_key => %(lane)s, p_priority => 0, p_deduplication_id => %(key)s, p_delay => null,
      p_timeout => null, p_deadline => null, p_max_recovery_attempts => 5, p_attributes => null,
      p_authenticated_user => null, p_assumed_role => null, p_authenticated_roles => null, p_schedule_name => null,
      p_parent_id => null, p_parent_fence => null, p_parent_step_id => null
    )
"""
FINISH = """
    select pyengine.finish_workflow(
      p_executor_id => 1, p_nonce => 1, p_workflow_id => 'a', p_fence => 1, p_status => 'SUCCESS', p_output => null,
      p_error => null
    )
"""
PUT_QUEUE = """
    select pyengine.put_queue(
      p_application => 'app', p_queue => 'q', p_concurrency => {concurrency}, p_worker_concurrency => null,
      p_rate_limit => null, p_rate_period => null, p_is_partitioned => true, p_partition_concurrency => null,
      p_partition_worker_concurrency => null, p_partition_rate_limit => null, p_partition_rate_period => null
    )
"""


def enqueue(connection: psycopg.Connection[Any], name: str, key: str | None = None) -> str:
    row = connection.execute(ENQUEUE, {"token": hash(name) % 10**9, "id": name, "lane": "lane", "key": key}).fetchone()
    assert row is not None
    return str(row[0])


def test_a_client_enqueues_cancels_and_resumes_but_finishes_and_claims_nothing(members: Callable[[str], str]) -> None:
    with connected(members("client")) as connection:
        for concurrency in (3, 4):
            connection.execute(PUT_QUEUE.format(concurrency=concurrency).encode())
        assert enqueue(connection, "a", key="k") == "yours"
        assert enqueue(connection, "b", key="k") == "deduplicated"
        assert connection.execute("select pyengine.cancel_workflow('a')").fetchone() == ("cancelled",)
        assert connection.execute("select pyengine.resume_workflow('a', null)").fetchone() == ("resumed",)
        assert connection.execute("select pyengine.resume_workflow('a', null)").fetchone() is not None
        listed = connection.execute("select workflow_id, status from pyengine.get_workflows(array['a', 'b'])")
        assert listed.fetchall() == [("a", "ENQUEUED")]
        for query in (
            FINISH,
            "select pyengine.claim_workflows(1, 1, 1, 'q', 1, true, 'any', null, null, null, null)",
            "update pyengine.outcomes set status = 'SUCCESS'",
            "delete from pyengine.checkpoints",
            "update pyengine.engine set release = 'x'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query.encode())
