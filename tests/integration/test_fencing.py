"""What user code gives to others so that an old owner's effects are refused: a token, or a lock in the transaction."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg import IsolationLevel
from psycopg.rows import dict_row, namedtuple_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from plugins.fleet import Facts, Fleet, said
from plugins.sessions import wait_until
from pyengine import DBOS, SetWorkflowID
from pyengine.errors import ClaimLost, DBOSException, DBOSWorkflowCancelledError, ExecutorFenced

Launch = Callable[..., type[DBOS]]

# -- the token ------------------------------------------------------------------------------------------

# A store of its own that keeps the highest token it saw and refuses lower ones.
STORE = """
    import psycopg

    STORE = psycopg.connect(os.environ["TEST_URL"], autocommit=True)

    def write(token, value):
        return STORE.execute(
            "insert into public.store as s (workflow_id, token, value) values (%s, %s, %s)"
            " on conflict (workflow_id) do update set token = excluded.token, value = excluded.value"
            " where excluded.token >= s.token returning true",
            (DBOS.workflow_id, token, value),
        ).fetchone() is not None

    @DBOS.step()
    def effect():
        token = DBOS.fencing_token
        say("token", token)
        while os.path.exists("hold"):
            time.sleep(0.02)
        say("written" if write(token, os.getpid()) else "refused", token)
        return os.getpid()

    @DBOS.workflow(name="flow")
    def flow():
        return effect()
"""


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def token_said(program: Any, word: str) -> int:
    return int(said(program, rf"^{word} (\d+)")[-1][1])


def test_a_store_refuses_the_old_owner_that_comes_back(fleet: Fleet, facts: Facts) -> None:
    facts.execute("create table public.store (workflow_id text primary key, token bigint, value bigint)")
    fleet.define(STORE)
    (fleet.folder / "hold").touch()
    old = fleet.start(ttl=1, after_launch='with SetWorkflowID("one"): DBOS.start_workflow(flow)')
    old.wait_for_line("^token")
    old.signal(signal.SIGSTOP)
    wait_until(lambda: state_of(old.pid) == "T", what="the process stands still")
    (fleet.folder / "hold").unlink()
    new = fleet.start(ttl=1)
    facts.wait_for("one")
    old.signal(signal.SIGCONT)

    # It is beyond its lease and in the middle of its step: nobody but the store can stop it.
    old.wait_for_line("^refused")
    assert facts.all("select token, value from public.store") == [(token_said(new, "written"), new.pid)]
    assert token_said(new, "token") > token_said(old, "token")


def test_the_token_is_the_workflows_and_grows_when_it_is_resumed(launch: Launch, facts: Facts) -> None:
    launch()
    seen: list[int | None] = []

    @DBOS.step()
    def step() -> None:
        seen.append(DBOS.fencing_token)

    @DBOS.workflow(name="flow")
    def flow() -> None:
        seen.append(DBOS.fencing_token)
        step()
        if len(seen) == 2:
            DBOS.cancel_workflow("w")
            DBOS.sleep(300)

    assert DBOS.fencing_token is None
    with SetWorkflowID("w"), pytest.raises(DBOSException):
        flow()
    DBOS.resume_workflow("w").get_result()

    assert None not in seen
    first, in_step, second = seen
    assert first == in_step
    assert second > first  # type: ignore[operator]


# -- the lock -------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(facts: Facts) -> Callable[[], int]:
    facts.execute("create table public.ledger (line text)")
    return lambda: int(facts.one("select count(*) from public.ledger"))


WRITE = "insert into public.ledger values ('written')"
LEVELS = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
Transaction = Callable[[Callable[[], Any]], None]


def by_psycopg(url: str, meanwhile: Callable[[], Any], level: IsolationLevel = LEVELS[0], **options: Any) -> None:
    with psycopg.connect(url, **options) as connection:
        connection.isolation_level = level
        connection.execute(WRITE)
        meanwhile()
        DBOS.lock_claim(connection)


def by_block(url: str, meanwhile: Callable[[], Any]) -> None:
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction():
        connection.execute(WRITE)
        meanwhile()
        DBOS.lock_claim(connection)


def by_sqlalchemy(url: str, meanwhile: Callable[[], Any], kind: str) -> None:
    engine = sqlalchemy.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="SERIALIZABLE", poolclass=sqlalchemy.NullPool
    )
    made: Any = {
        "connection": engine.connect,
        "session": lambda: Session(engine),
        "scoped": lambda: scoped_session(sessionmaker(engine)),
    }[kind]()
    try:
        made.execute(sqlalchemy.text(WRITE))
        meanwhile()
        DBOS.lock_claim(made)
        made.commit()
    finally:
        made.close()
        engine.dispose()


# Each writes a line, does what is given, asks for the claim and commits.
TRANSACTIONS: dict[str, Callable[[str, Callable[[], Any]], None]] = {
    "psycopg": by_psycopg,
    "dict rows": lambda url, meanwhile: by_psycopg(url, meanwhile, row_factory=dict_row),
    "named rows": lambda url, meanwhile: by_psycopg(url, meanwhile, row_factory=namedtuple_row),
    "repeatable read": lambda url, meanwhile: by_psycopg(url, meanwhile, LEVELS[1]),
    "serializable": lambda url, meanwhile: by_psycopg(url, meanwhile, LEVELS[2]),
    "transaction block": by_block,
    "SQLAlchemy connection": lambda url, meanwhile: by_sqlalchemy(url, meanwhile, "connection"),
    "SQLAlchemy session": lambda url, meanwhile: by_sqlalchemy(url, meanwhile, "session"),
    "SQLAlchemy scoped session": lambda url, meanwhile: by_sqlalchemy(url, meanwhile, "scoped"),
}
# One per level is enough where only the verdict counts. The strict ones are refused by Postgres itself.
READ_COMMITTED = ["psycopg", "transaction block"]
every_transaction = pytest.mark.parametrize("name", TRANSACTIONS)


@every_transaction
def test_the_owner_commits(dbos: type[DBOS], database_url: str, ledger: Callable[[], int], name: str) -> None:
    @DBOS.step()
    def in_step() -> None:
        TRANSACTIONS[name](database_url, lambda: None)

    @DBOS.workflow()
    def flow() -> None:
        TRANSACTIONS[name](database_url, lambda: None)
        in_step()

    flow()
    assert ledger() == 2


def lose_claim(facts: Facts) -> None:
    """By a takeover of which this process knows nothing yet."""
    facts.execute(
        "select pyengine.mark_executor_dead(executor_id, nonce, 'process_gone', null, null) from pyengine.executors"
    )
    facts.execute("select pyengine.take_over_executor(executor_id, 100) from pyengine.executors")


@every_transaction
@pytest.mark.parametrize("loss", ["takeover", "cancel"])
def test_whoever_lost_the_workflow_does_not_commit(
    launch: Launch, database_url: str, facts: Facts, ledger: Callable[[], int], name: str, loss: str
) -> None:
    launch(lease_ttl_seconds=3)
    raised: list[BaseException] = []

    def lose() -> None:
        if loss == "takeover":
            lose_claim(facts)
        else:
            facts.execute("select pyengine.cancel_workflow('w')")

    @DBOS.step()
    def write() -> None:
        if raised:
            return
        try:
            TRANSACTIONS[name](database_url, lose)
        except Exception as error:  # 40001, which a program answers by beginning again
            raised.append(error)
            TRANSACTIONS[name](database_url, lambda: None)
        except BaseException as error:
            raised.append(error)
            raise

    @DBOS.workflow(name="flow")
    def flow() -> None:
        write()

    with SetWorkflowID("w"):
        DBOS.start_workflow(flow)
    facts.wait_for("w", "SUCCESS", "CANCELLED")
    wait_until(lambda: raised, what="the old run to be told")
    assert ledger() == 0
    # It may also have been told by a beat in between.
    told = (ClaimLost, ExecutorFenced) if loss == "takeover" else (DBOSWorkflowCancelledError,)
    strict = (psycopg.errors.SerializationFailure, sqlalchemy.exc.OperationalError)
    assert isinstance(raised[0], told if name in READ_COMMITTED else (*told, *strict))


def test_async_transactions_hold_the_claim(dbos: type[DBOS], database_url: str, ledger: Callable[[], int]) -> None:
    async def by_connection() -> None:
        async with await psycopg.AsyncConnection.connect(database_url, row_factory=dict_row) as connection:
            await connection.execute(WRITE)
            await DBOS.lock_claim_async(connection)

    async def by_session() -> None:
        engine = create_async_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
        async with AsyncSession(engine) as session:
            await session.execute(sqlalchemy.text(WRITE))
            await DBOS.lock_claim_async(session)
            await session.commit()
        await engine.dispose()

    @DBOS.workflow()
    async def flow() -> None:
        await by_connection()
        await by_session()
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            await connection.execute(WRITE)
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
                await other.execute("select pyengine.cancel_workflow('w')")
            await DBOS.lock_claim_async(connection)

    async def main() -> None:
        with SetWorkflowID("w"):
            await DBOS.start_workflow_async(flow)
        with pytest.raises(DBOSException):
            await DBOS.get_result_async("w")

    asyncio.run(main())
    wait_until(lambda: ledger() == 2, what="both lines")


@pytest.fixture
def autocommit(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_a_lock_that_would_be_gone_at_once_is_refused(dbos: type[DBOS], autocommit: psycopg.Connection[Any]) -> None:
    @DBOS.workflow()
    def flow() -> None:
        DBOS.lock_claim(autocommit)

    with pytest.raises(DBOSException, match="in autocommit mode"):
        flow()


def test_there_is_nothing_to_hold_outside_of_a_workflow(dbos: type[DBOS], autocommit: psycopg.Connection[Any]) -> None:
    with pytest.raises(DBOSException, match="only be called from within a workflow"):
        DBOS.lock_claim(autocommit)
