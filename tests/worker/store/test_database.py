"""Transactions: short, bounded, cooperative, and done again where another was in the way."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from deploy.probes import children_of
from millrace.worker.contract.ids import new_id
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store import conversations
from millrace.worker.store.database import Database, engine_url, make_engine
from millrace.worker.store.migration import migrate
from tests.postgres import PostgresProcess
from tests.worker.desk import ROOT

ENDLESS = {
    True: "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 4000000) SELECT sum(x) FROM n",
    False: "SELECT pg_sleep(1)",
}


@contextmanager
def other(settings: Settings) -> Generator[Engine]:
    """Connections that are not the database's own, as another process has them."""
    engine = make_engine(engine_url(settings.database.url), 1, 30, lock_seconds=30)
    yield engine
    engine.dispose()


@contextmanager
def locked(settings: Settings) -> Generator[None]:
    """Nobody else writes conversations meanwhile."""
    with other(settings) as engine, engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DELETE FROM conversations WHERE id = ''"))
        else:
            connection.execute(text("LOCK TABLE conversations"))
        yield


@contextmanager
def ticking() -> Generator[list[int]]:
    """Count how often another greenlet gets its turn."""
    ticks = [0]

    def tick() -> None:
        while True:
            gevent.sleep(0.001)
            ticks[0] += 1

    greenlet = gevent.spawn(tick)
    yield ticks
    greenlet.kill()


def make(session: Session) -> str:
    made = new_id()
    assert conversations.create_or_touch(session, "ada", made)
    return made


def is_there(database: Database, conversation: str) -> bool:
    return database.run(lambda session: conversations.find(session, "ada", conversation)) is not None


def test_what_is_done_before_an_error_is_undone_and_the_error_comes_out(database: Database) -> None:
    made: list[str] = []

    def fail(session: Session) -> None:
        made.append(make(session))
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        database.run(fail)
    assert len(made) == 1
    assert not is_there(database, made[0])


def test_row_38_a_locked_database_is_away_in_time_and_holds_nobody_up(database: Database, settings: Settings) -> None:
    with locked(settings):
        with ticking() as ticks, pytest.raises(DatabaseUnavailable):
            database.run(make, 0.5)
        assert ticks[0] > 20
    assert is_there(database, database.run(make))


def test_a_lock_that_is_let_go_in_time_is_waited_for(database: Database, settings: Settings) -> None:
    def work() -> str:
        return database.run(make, 20)

    with locked(settings):
        waiting = gevent.spawn(work)
        gevent.sleep(0.2)
        assert not waiting.ready()
    assert is_there(database, waiting.get())


def test_a_database_that_was_never_migrated_says_what_to_do(empty: Settings) -> None:
    if empty.database.url.startswith("sqlite"):
        Path(str(engine_url(empty.database.url).database)).parent.mkdir()
    database = Database(empty)
    with pytest.raises(DatabaseUnavailable, match=r"deploy/migrate\.py"):
        database.run(make)
    migrate(empty)
    assert is_there(database, database.run(make))
    database.close()


def test_a_file_that_can_not_be_opened_is_away(tmp_path: Path) -> None:
    database = Database(Settings.of(database_url=f"sqlite:///{tmp_path}/nowhere/millrace.db"))
    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        database.run(make)
    database.close()


def test_many_at_once_lose_nothing(database: Database) -> None:
    conversation = database.run(make)

    def merge(number: int) -> None:
        change = {str(number): number}
        database.run(lambda session: conversations.merge_context(session, "ada", conversation, change), 60)

    gevent.joinall([gevent.spawn(merge, number) for number in range(40)], raise_error=True)
    found = database.run(lambda session: conversations.find(session, "ada", conversation))
    assert found
    assert len(found.context) == 40


def test_others_have_their_turn_while_a_query_takes_long(database: Database) -> None:
    with ticking() as ticks:
        database.run(lambda session: session.execute(text(ENDLESS[database.is_sqlite])), 60)
    assert ticks[0] > 20


def test_who_is_interrupted_in_the_middle_leaves_a_database_that_serves(database: Database) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        database.run(lambda session: session.execute(text(ENDLESS[database.is_sqlite])), 60)
    greenlet = gevent.spawn(database.run, lambda session: session.execute(text(ENDLESS[database.is_sqlite])), 60)
    gevent.sleep(0.1)
    greenlet.kill()
    assert is_there(database, database.run(make, 60))


def test_who_finds_all_connections_in_use_is_told_in_time(settings: Settings) -> None:
    database = Database(settings.replace(database_connections=1, database_seconds=0.3))

    def hold(session: Session) -> None:
        session.execute(text(ENDLESS[True]) if database.is_sqlite else text("SELECT 1"))
        gevent.sleep(0 if database.is_sqlite else 5)

    holding = gevent.spawn(database.run, hold, 60)
    gevent.sleep(0.05)
    with pytest.raises(DatabaseUnavailable):
        database.run(make)
    holding.kill()
    database.close()


def test_without_gevents_patches_threads_share_it_as_well(settings: Settings) -> None:
    code = """
import sys, threading
from millrace.worker.settings.schema import Settings
from millrace.worker.store import memories
from millrace.worker.store.database import Database
database = Database(Settings.of(database_url=sys.argv[1]))
def keep(number):
    for part in range(10):
        database.run(lambda session: memories.add(session, "ada", f"fact {number} {part}"), 60)
threads = [threading.Thread(target=keep, args=(number,)) for number in range(10)]
[each.start() for each in threads], [each.join() for each in threads]
print(len(database.run(lambda session: memories.page(session, "ada", None, 200)).items))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, settings.database.url], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("100\n", "")


class TestServer:
    """PostgreSQL as a server that goes, comes back and stands still."""

    @pytest.fixture
    def server(self, postgres: PostgresProcess) -> Generator[PostgresProcess]:
        """One of its own, where there is one at all."""
        with PostgresProcess() as running:
            yield running

    @pytest.fixture
    def database(self, server: PostgresProcess) -> Generator[Database]:
        settings = Settings.of(database_url=server.url(), database_seconds=1)
        migrate(settings)
        opened = Database(settings)
        yield opened
        opened.close()

    def test_it_is_away_while_it_is_gone_and_serves_when_it_is_back(
        self, database: Database, server: PostgresProcess
    ) -> None:
        made = database.run(make)
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            database.run(make)
        server.start()
        assert is_there(database, made)

    def test_one_that_was_restarted_in_between_is_not_noticed(
        self, database: Database, server: PostgresProcess
    ) -> None:
        made = [database.run(make)]
        server.stop()
        server.start()
        made.append(database.run(make))
        assert all(is_there(database, each) for each in made)

    def test_one_that_stands_still_is_away_in_time_and_holds_nobody_up(
        self, database: Database, server: PostgresProcess
    ) -> None:
        made = database.run(make)
        processes = [server.pid, *children_of([server.pid])]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            with ticking() as ticks, pytest.raises(DatabaseUnavailable):
                database.run(make)
            assert ticks[0] > 20
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)
        assert is_there(database, made)
