"""Transactions: bounded in time, cooperative with other greenlets, and retried after a conflict."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import Engine, column, text
from sqlalchemy.orm import Session

from deploy.system.probes import children_of
from millrace.worker.contract.ids import new_id
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store import conversations
from millrace.worker.store.database import Database, database_name, engine_url, make_engine
from millrace.worker.store.migration import migrate
from millrace.worker.store.prepared import PreparedQuery, Reader
from tests.postgres import PostgresProcess
from tests.worker.celery_worker import ROOT

SLOW_QUERY = {
    True: "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 4000000) SELECT sum(x) FROM n",
    False: "SELECT pg_sleep(1)",
}


@contextmanager
def other_engine(settings: Settings) -> Generator[Engine]:
    """Yield an engine with connections of its own, like that of another process."""
    engine = make_engine(engine_url(settings.database.url), 1, 30, lock_seconds=30)
    yield engine
    engine.dispose()


@contextmanager
def locked(settings: Settings) -> Generator[None]:
    """Hold a lock that blocks every other write to conversations."""
    with other_engine(settings) as engine, engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DELETE FROM conversations WHERE id = ''"))
        else:
            connection.execute(text("LOCK TABLE conversations"))
        yield


@contextmanager
def ticking() -> Generator[list[int]]:
    """Count how often another greenlet runs."""
    ticks = [0]

    def tick() -> None:
        while True:
            gevent.sleep(0.001)
            ticks[0] += 1

    greenlet = gevent.spawn(tick)
    yield ticks
    greenlet.kill()


def create(session: Session) -> str:
    conversation = new_id()
    assert conversations.create_or_touch(session, "ada", conversation)
    return conversation


def exists(database: Database, conversation: str) -> bool:
    return database.run(lambda session: conversations.find(session, "ada", conversation)) is not None


def test_exception_rolls_the_transaction_back_and_propagates(database: Database) -> None:
    created: list[str] = []

    def fail(session: Session) -> None:
        created.append(create(session))
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        database.run(fail)
    assert len(created) == 1
    assert not exists(database, created[0])


def is_in_transaction(reader: Reader) -> bool:
    """Read something, and return whether the driver has a transaction open behind it."""
    conversations.find(reader, "ada", "none")
    is_session = isinstance(reader, Session)
    driver: Any = reader.connection().connection.dbapi_connection if is_session else reader.connection
    return driver.in_transaction if isinstance(driver, sqlite3.Connection) else bool(driver.info.transaction_status)


def test_reads_take_no_transaction_and_share_connections_with_transactions(settings: Settings) -> None:
    migrate(settings)
    database = Database(settings.replace(database_connections=1))
    for _ in range(2):
        assert database.run(create)
        assert not database.read(is_in_transaction)
        assert database.run(is_in_transaction)
        with pytest.raises(ZeroDivisionError):
            database.read(lambda _reader: 1 // 0)
        assert database.run(is_in_transaction)
    if not database.is_sqlite:  # otherwise the connection's own timeout, of the setting, would end the statement
        assert database.read(is_in_transaction, 2 * settings.database.seconds)
    database.close()


def test_read_is_bounded_in_time(database: Database) -> None:
    slow = PreparedQuery(text(SLOW_QUERY[database.is_sqlite]).columns(column("result")))
    with pytest.raises(DatabaseUnavailable):
        database.read(slow.first, 0.1)
    assert not database.read(is_in_transaction, 60 if database.is_sqlite else None)


def test_row_38_locked_database_is_unavailable_in_time_and_blocks_no_other_greenlet(
    database: Database, settings: Settings
) -> None:
    with locked(settings):
        with ticking() as ticks, pytest.raises(DatabaseUnavailable):
            database.run(create, 0.5)
        assert ticks[0] > 20
    assert exists(database, database.run(create))


def test_transaction_waits_for_a_lock_that_is_released_in_time(database: Database, settings: Settings) -> None:
    def work() -> str:
        return database.run(create, 20)

    with locked(settings):
        waiting = gevent.spawn(work)
        gevent.sleep(0.2)
        assert not waiting.ready()
    assert exists(database, waiting.get())


def test_database_that_was_never_migrated_raises_with_the_command_to_run(empty: Settings) -> None:
    if empty.database.url.startswith("sqlite"):
        Path(str(engine_url(empty.database.url).database)).parent.mkdir()
    database = Database(empty)
    with pytest.raises(DatabaseUnavailable, match=r"deploy/migrate\.py"):
        database.run(create)
    migrate(empty)
    assert exists(database, database.run(create))
    database.close()


def test_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    database = Database(Settings.of(database_url=f"sqlite:///{tmp_path}/nowhere/millrace.db"))
    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        database.run(create)
    database.close()


def test_violated_constraint_is_unavailable_and_names_no_value(database: Database) -> None:
    conversation = database.run(create)
    insert = text(
        "INSERT INTO conversations (id, owner, context, created_ms, updated_ms) VALUES (:id, 'a', '{}', 0, 0)"
    )
    with pytest.raises(DatabaseUnavailable, match="rejected a value") as raised:
        database.run(lambda session: session.execute(insert, {"id": conversation}))
    assert conversation not in str(raised.value)
    assert exists(database, database.run(create))


def test_error_of_a_statement_hides_its_parameters(database: Database) -> None:
    query = text("SELECT nothing FROM conversations WHERE owner = :owner")
    with pytest.raises(DatabaseUnavailable) as raised:
        database.run(lambda session: session.execute(query, {"owner": "a private text"}))
    assert "a private text" not in f"{raised.value} {raised.value.__cause__}"


def test_damaged_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "millrace.db"
    path.write_bytes(b"this is no database" * 1000)
    database = Database(Settings.of(database_url=f"sqlite:///{path}"))
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        database.run(create)
    database.close()


def test_deleted_text_is_overwritten_in_the_file(tmp_path: Path) -> None:
    settings = Settings.of(database_url=f"sqlite:///{tmp_path / 'millrace.db'}")
    migrate(settings)
    database = Database(settings)
    conversation, secret = database.run(create), "a text to be forgotten"
    database.run(lambda session: conversations.rename(session, "ada", conversation, secret))
    assert database.run(lambda session: conversations.delete(session, "ada", conversation))
    database.run(lambda session: session.connection().exec_driver_sql("SELECT 1"))
    database.close()  # the last connection writes the log of changes into the file and removes it
    assert all(secret.encode() not in each.read_bytes() for each in tmp_path.iterdir())


def test_concurrent_transactions_lose_no_update(database: Database) -> None:
    conversation = database.run(create)

    def merge(number: int) -> None:
        change = {str(number): number}
        database.run(lambda session: conversations.merge_context(session, "ada", conversation, change), 60)

    gevent.joinall([gevent.spawn(merge, number) for number in range(40)], raise_error=True)
    found = database.run(lambda session: conversations.find(session, "ada", conversation))
    assert found
    assert len(found.context) == 40


def test_other_greenlets_run_during_a_slow_query(database: Database) -> None:
    with ticking() as ticks:
        database.run(lambda session: session.execute(text(SLOW_QUERY[database.is_sqlite])), 60)
    assert ticks[0] > 20


def test_database_serves_after_a_transaction_is_interrupted(database: Database) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        database.run(lambda session: session.execute(text(SLOW_QUERY[database.is_sqlite])), 60)
    greenlet = gevent.spawn(database.run, lambda session: session.execute(text(SLOW_QUERY[database.is_sqlite])), 60)
    gevent.sleep(0.1)
    greenlet.kill()
    assert exists(database, database.run(create, 60))


def test_name_tells_databases_apart_and_has_no_password() -> None:
    def name(url: str, schema: str = "") -> str:
        return database_name(engine_url(url), schema)

    assert name("postgresql://a:secret@db/chat") == name("postgresql://b@db/chat?connect_timeout=3") == "db:/chat/"
    others = ("postgresql://a@db/other", "postgresql://a@db2/chat", "postgresql://a@db:5433/chat", "postgresql:///chat")
    sockets = ("postgresql:///chat?host=/run/a", "postgresql:///chat?host=/run/b")
    files = ("sqlite:////a/chat.db", "sqlite:////b/chat.db")
    names = {name(each) for each in (*others, *sockets, *files)}
    names |= {name("postgresql://a@db/chat", schema) for schema in ("", "tenant")}
    assert len(names) == 10
    assert name(f"sqlite:///{Path.cwd()}/chat.db") == name("sqlite:///chat.db"), "relative to the same directory"


def test_exhausted_connection_pool_raises_in_time(settings: Settings) -> None:
    database = Database(settings.replace(database_connections=1, database_seconds=0.3))

    def hold(session: Session) -> None:
        session.execute(text(SLOW_QUERY[True]) if database.is_sqlite else text("SELECT 1"))
        gevent.sleep(0 if database.is_sqlite else 5)

    holder = gevent.spawn(database.run, hold, 60)
    gevent.sleep(0.05)
    with pytest.raises(DatabaseUnavailable):
        database.run(create)
    holder.kill()
    database.close()


def test_threads_share_a_database_without_gevents_patches(settings: Settings) -> None:
    code = """
import sys, threading
from millrace.worker.settings.schema import Settings
from millrace.worker.store import memories
from millrace.worker.store.database import Database
database = Database(Settings.of(database_url=sys.argv[1]))
def add(number):
    for part in range(10):
        database.run(lambda session: memories.add(session, "ada", f"fact {number} {part}"), 60)
threads = [threading.Thread(target=add, args=(number,)) for number in range(10)]
[each.start() for each in threads], [each.join() for each in threads]
print(len(database.run(lambda session: memories.page(session, "ada", None, 200)).items))
"""
    run = subprocess.run(
        [sys.executable, "-c", code, settings.database.url], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("100\n", "")


class TestServer:
    """PostgreSQL as a server that stops, restarts and is suspended."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, postgres: PostgresProcess) -> Generator[PostgresProcess]:
        """A server of these tests' own, so that it can be stopped; each leaves it as it found it."""
        with PostgresProcess() as running:
            yield running

    @pytest.fixture
    def database(self, server: PostgresProcess) -> Generator[Database]:
        settings = Settings.of(database_url=server.url(), database_seconds=1)
        migrate(settings)
        opened = Database(settings)
        yield opened
        opened.close()

    def test_stopped_server_is_unavailable_until_it_starts_again(
        self, database: Database, server: PostgresProcess
    ) -> None:
        created = database.run(create)
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            database.run(create)
        server.start()
        assert exists(database, created)

    def test_restart_between_two_transactions_is_not_noticed(self, database: Database, server: PostgresProcess) -> None:
        created = [database.run(create)]
        server.stop()
        server.start()
        created.append(database.run(create))
        assert all(exists(database, each) for each in created)

    def test_restart_between_two_reads_is_not_noticed(self, database: Database, server: PostgresProcess) -> None:
        """All connections of the pool are lost: a second attempt must not find another of them."""
        created = database.run(create)

        def read(reader: Reader) -> bool:
            gevent.sleep(0.1)  # so that each read needs a connection of its own
            return conversations.find(reader, "ada", created) is not None

        for _ in range(2):
            reads = [gevent.spawn(database.read, read) for _ in range(4)]
            gevent.joinall(reads, raise_error=True)
            assert all(each.value for each in reads)
            server.stop()
            server.start()
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            database.read(read)
        server.start()
        assert database.read(read)

    def test_connections_to_a_server_that_was_read_only_are_replaced_once_it_takes_writes(
        self, database: Database, server: PostgresProcess
    ) -> None:
        """Connections of many requests at once, which have all been made while the server was a replica."""
        server.query("ALTER DATABASE postgres SET default_transaction_read_only = on", "template1")

        def read(session: Session) -> None:
            conversations.find(session, "ada", new_id())
            gevent.sleep(0.1)

        gevent.joinall([gevent.spawn(database.run, read) for _ in range(4)], raise_error=True)
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            database.run(create)
        server.query("ALTER DATABASE postgres SET default_transaction_read_only = off", "template1")
        assert exists(database, database.run(create))

    def test_suspended_server_is_unavailable_in_time_and_blocks_no_other_greenlet(
        self, database: Database, server: PostgresProcess
    ) -> None:
        created = database.run(create)
        processes = [server.pid, *children_of([server.pid])]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            with ticking() as ticks, pytest.raises(DatabaseUnavailable):
                database.run(create)
            assert ticks[0] > 20
            with gevent.Timeout(20), pytest.raises(DatabaseUnavailable):
                database.read(lambda reader: conversations.find(reader, "ada", created))
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)
        assert exists(database, created)
