"""URLs as users have them become one form; what is shown of them has no password."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from pyengine.config import urls
from pyengine.errors import DBOSInitializationError

PLAIN = "postgresql://me:secret@db.example:5433/shop"


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg", "POSTGRESQL"],
)
def test_every_postgres_scheme_becomes_the_one_of_libpq(scheme: str) -> None:
    assert urls.normalise(f"{scheme}://me:secret@db.example:5433/shop") == PLAIN


@pytest.mark.parametrize("around", ["{}\n", '"{}"', "'{}'", "  {} "])
def test_quotes_and_blanks_around_a_url_are_taken_off(around: str) -> None:
    assert urls.normalise(around.format(PLAIN)) == PLAIN


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("host=db.example port=5433 user=me password=secret dbname=shop", PLAIN),
        ("host='db.example' password='a b\\'c' user=me", "postgresql://me:a%20b%27c@db.example/"),
        ("postgresql://localhost", "postgresql://localhost/"),
        ("postgresql://localhost/?", "postgresql://localhost/"),
        ("postgresql:///shop", "postgresql:///shop"),
        ("postgresql:///shop?host=/run/pg", "postgresql:///shop?host=/run/pg"),
        ("postgresql://%2Frun%2Fpg/shop", "postgresql:///shop?host=/run/pg"),
        ("postgresql://[::1]:5433/shop", "postgresql://[::1]:5433/shop"),
        ("postgresql://me@h/shop?sslmode=require&connect_timeout=5",
         "postgresql://me@h/shop?sslmode=require&connect_timeout=5"),
        ("postgresql+asyncpg://me@h/shop?ssl=true", "postgresql://me@h/shop?sslmode=require"),
        ("postgresql://h/shop?options=-c%20search_path%3Dx", "postgresql://h/shop?options=-c%20search_path%3Dx"),
        ("postgresql://h/shop?user=me&password=p%40ss", "postgresql://me:p%40ss@h/shop"),
        ("postgresql://h/shop?application_name=a@b", "postgresql://h/shop?application_name=a%40b"),
        ("postgresql://me:%ZZ%@h/shop", "postgresql://me:%25ZZ%25@h/shop"),
    ],
)  # fmt: skip
def test_a_url_means_the_same_afterwards(written: str, expected: str) -> None:
    assert urls.normalise(written) == expected


@pytest.mark.parametrize("password", ["p@ss", "a/b", "a?b", "a:b", "a#b", "p@s/s?x", "ends@"])
def test_special_characters_in_a_password_need_no_escape(password: str) -> None:
    address = urls.parse(f"postgresql://me:{password}@db.example:5433/shop?connect_timeout=3")

    assert address.parameters == {
        "user": "me", "password": password, "host": "db.example", "port": "5433", "dbname": "shop",
        "connect_timeout": "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://me@a:1,b:2/shop",
        "postgresql://me@/shop?host=a:1&host=b:2",
        "host=a,b port=1,2 user=me dbname=shop",
    ],
)
def test_of_several_hosts_the_one_that_writes_is_wanted(written: str) -> None:
    assert urls.normalise(written) == "postgresql://me@a:1,b:2/shop?target_session_attrs=read-write"


def test_one_port_serves_all_hosts_that_name_none() -> None:
    parameters = conninfo_to_dict(urls.normalise("host=a,b port=5433"))

    assert (parameters["host"], parameters["port"]) == ("a,b", "5433,5433")


def test_hosts_with_and_without_a_port_keep_theirs() -> None:
    parameters = conninfo_to_dict(urls.normalise("postgresql://a:1,b/shop?target_session_attrs=any"))

    assert parameters == {"host": "a,b", "port": "1,", "dbname": "shop", "target_session_attrs": "any"}


def test_options_of_other_drivers_are_left_out_and_told() -> None:
    address = urls.parse("postgresql+asyncpg://h/shop?statement_cache_size=0&sslmode=require&pool_timeout=3")

    assert address.ignored == ("statement_cache_size", "pool_timeout")
    assert address.parameters == {"host": "h", "dbname": "shop", "sslmode": "require"}


@pytest.mark.parametrize(
    ("said", "is_pooled"),
    [
        ("pgbouncer=true", True),
        ("pool_mode=transaction", True),
        ("pool_mode=session", False),
        ("connect_timeout=3", None),
    ],
)
def test_a_url_may_say_that_a_transaction_pooler_is_in_between(said: str, is_pooled: bool | None) -> None:
    address = urls.parse(f"postgresql://h/shop?{said}")

    assert address.is_pooled is is_pooled
    assert set(address.parameters) <= {"host", "dbname", "connect_timeout"}
    assert address.ignored == ()


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("postgresql://h/shop?pool_mode=statement", "pool_mode=statement"),
        ("postgresql://me:secret@h/shop?sslmod=require", "'sslmode'"),
        ("host=h password=secret prot=1", "'port'"),
        ("postgresql://me:secret@h/shop?sslmode=no-verify", "verify-full"),
        ("postgresql://me:secret@h/shop?ssl=maybe", "sslmode=require"),
        ("postgresql://me:secret@h:70000/shop", "65535"),
        ("postgresql://me:secret@h:port/shop", "postgresql://user:password@host:5432/database"),
        ("host=h port=x password=secret", "65535"),
        ("host=h password=my secret", "quotes"),
        ("mysql://me:secret@h/shop", "Postgres only"),
        ("jdbc:postgresql://h/shop?password=secret", "Postgres only"),
        ("postgressql://me:secret@h/shop", "postgresql://"),
        ("localhost:5432/shop", "postgresql://"),
        ("postgresql:shop", "//"),
        ("shop", "postgresql://"),
        ("", "empty"),
        ("postgresql://h/a\x00b", "NUL"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_would_be_right(written: str, part: str) -> None:
    with pytest.raises(DBOSInitializationError) as raised:
        urls.normalise(written)

    assert part in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("written", ["sqlite:///shop.sqlite", "sqlite+aiosqlite:///:memory:", "SQLITE:shop.db"])
def test_sqlite_is_refused_with_what_to_write_instead(written: str) -> None:
    with pytest.raises(DBOSInitializationError, match=r"Remove the URL .*embedded Postgres.* or write postgresql://"):
        urls.normalise(written)


def test_the_database_can_be_read_and_replaced() -> None:
    assert urls.database_of(PLAIN) == "shop"
    assert urls.database_of("postgresql://h") is None
    assert urls.with_database(PLAIN, "a b/c") == "postgresql://me:secret@db.example:5433/a%20b%2Fc"


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1)
_HOST = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)


@given(user=_TEXT, password=_TEXT, host=_HOST, port=st.integers(1, 65535), dbname=_TEXT, application_name=_TEXT)
def test_libpq_reads_back_whatever_is_rendered(**given: object) -> None:
    parameters = {key: str(value) for key, value in given.items()}

    url = urls.render(parameters)

    assert conninfo_to_dict(url) == parameters
    assert urls.parse(url).parameters == parameters
    assert urls.normalise(url) == url


@given(text=st.text())
def test_no_text_makes_reading_fail_in_another_way(text: str) -> None:
    for prefix in ("", "postgresql://", "postgresql://me:pw@", "host="):
        try:
            conninfo_to_dict(urls.normalise(prefix + text))
        except DBOSInitializationError:
            continue
        except psycopg.ProgrammingError:
            pytest.fail(f"libpq does not take what became of {prefix + text!r}")


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:secret@h/shop",
        "postgresql://me:se@cret?/secret@h/shop",
        "postgresql://me:with secret@h/shop",
        "cannot reach postgresql://me:secret@h/shop, nor postgres://me:secret@h2/shop",
        "host=h password=secret user=me",
        "host=h password = 'my \\' secret' user=me",
        "postgresql://h/shop?user=me&password=secret&sslpassword=secret",
        "PGPASSWORD=secret psql",
    ],
)
def test_redaction_leaves_no_password(text: str) -> None:
    shown = urls.redact(text)

    assert "secret" not in shown
    assert "***" in shown


@pytest.mark.parametrize("text", ["postgresql://me@h:5432/shop", "password authentication failed for user me", ""])
def test_redaction_changes_nothing_else(text: str) -> None:
    assert urls.redact(text) == text
