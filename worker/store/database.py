"""The database of one process: short transactions, bounded waits, and a gevent hub that is not held up.

PostgreSQL is waited for by psycopg, whose waits give way to other greenlets under gevent's patches. SQLite can't give
way, so that all its work is done in one native thread: one, because SQLite lets only one write anyway, and what waits
for another process's lock waits in its greenlet and not in the thread. Without gevent's patches both are called as
they are.
"""

import math
import sqlite3
import time
from collections.abc import Callable
from random import uniform
from typing import Any, TypeVar, cast

import gevent
from gevent.monkey import is_module_patched
from gevent.threadpool import ThreadPool
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings

SQLITE_BUSY_SECONDS = 0.001  # in the thread; who finds the file locked for longer tries again from its greenlet
_PAUSE_SECONDS = 0.001, 0.03  # the first and the longest: another's transaction is over in a millisecond or two
_GIVE_UP_SLACK_SECONDS = 0.5  # the server ends a statement in time by itself; this is for one that says nothing
_CLOSE_SECONDS = 1.0
_CONFLICTS = ("40001", "40P01", "55P03")  # serialization failure, deadlock, lock not available
_NO_TABLE = "42P01"

T = TypeVar("T")


class Database:
    """Runs transactions; one a process, made without I/O, used by any number of greenlets at once."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.database.seconds
        url = engine_url(settings.database.url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._is_patched = is_module_patched("threading")
        self._thread = ThreadPool(1) if self._is_sqlite and self._is_patched else None
        connections = 1 if self._thread else settings.database.connections
        self._engine = make_engine(url, connections, settings.database.seconds)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, and not PostgreSQL."""
        return self._is_sqlite

    def run(self, work: Callable[[Session], T], seconds: float | None = None) -> T:
        """Do `work` in one transaction and return what it returned; raises DatabaseUnavailable when the time is over.

        `seconds` bounds everything that is waited for, by default `MILLRACE_DATABASE_SECONDS`. The work is done again
        where another transaction was in its way, so that it must bear that; what it raises itself ends the
        transaction undone.
        """
        deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        is_again = False
        pause, longest = _PAUSE_SECONDS
        while True:
            try:
                return self._once(work, deadline)
            except PoolTimeout as error:
                if time.monotonic() >= deadline:
                    raise DatabaseUnavailable("all connections to the database are in use") from error
            except (OperationalError, InterfaceError, InternalError) as error:
                # A connection that has died in the pool is found out once; the next is a new one.
                may_pass = is_conflict(error) or (error.connection_invalidated and not is_again)
                if not may_pass or time.monotonic() >= deadline:
                    raise DatabaseUnavailable(_words(error)) from error
                is_again = is_again or error.connection_invalidated
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) == _NO_TABLE:
                    raise DatabaseUnavailable(_words(error)) from error
                raise
            time.sleep(uniform(0.5, 1.5) * pause)
            pause = min(1.5 * pause, longest)

    def check(self, seconds: float) -> None:
        """Raise DatabaseUnavailable where it does not serve in time, or has not been migrated."""
        self.run(lambda session: session.execute(text("SELECT 1 FROM conversations LIMIT 1")), seconds)

    def close(self) -> None:
        """Close the connections, within a second; nothing is to be run after that."""
        if self._thread is not None:
            gevent.with_timeout(_CLOSE_SECONDS, self._thread.kill, timeout_value=None)
        self._engine.dispose()

    def _once(self, work: Callable[[Session], T], deadline: float) -> T:
        left = max(0.001, deadline - time.monotonic())
        if not self._is_sqlite:
            # The connections' own limit is that of a usual transaction.
            work = _limited(work, left) if left > self._seconds else work
        if not self._is_patched:
            return self._transact(work)
        # A Timeout is no Exception: SQLAlchemy closes the connection that it is raised in, and asks it nothing more.
        limit = gevent.Timeout(left + (0.0 if self._thread else _GIVE_UP_SLACK_SECONDS))
        try:
            with limit:
                return self._transact(work) if self._thread is None else self._transact_there(self._thread, work)
        except gevent.Timeout as over:
            if over is not limit:
                raise
            raise DatabaseUnavailable(f"the database has not answered in {left:.1f} s") from over

    def _transact_there(self, thread: ThreadPool, work: Callable[[Session], T]) -> T:
        answer, error = cast("tuple[T, BaseException | None]", thread.apply(self._caught, (work,)))
        if error is not None:
            raise error
        return answer

    def _caught(self, work: Callable[[Session], T]) -> tuple[T | None, BaseException | None]:
        """An error is handed over by hand: gevent's pool would print its traceback besides."""
        try:
            return self._transact(work), None
        except BaseException as error:  # noqa: BLE001 - raised again by the greenlet that waits
            return None, error

    def _transact(self, work: Callable[[Session], T]) -> T:
        with Session(self._engine, autoflush=False, expire_on_commit=False) as session, session.begin():
            return work(session)


def engine_url(address: str) -> URL:
    """Return the address as SQLAlchemy takes it: with psycopg 3 for PostgreSQL, however that is spelled."""
    url = make_url(address)
    return url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg")


def make_engine(url: URL, connections: int, seconds: float, lock_seconds: float = SQLITE_BUSY_SECONDS) -> Engine:
    """Return an engine with a pool of so many connections, for one of which at most so many seconds are waited.

    `lock_seconds` is how long SQLite itself waits for another's lock.
    """
    milliseconds = math.ceil(seconds * 1000)
    is_sqlite = url.get_backend_name() == "sqlite"
    connecting: dict[str, Any] = (
        {"timeout": lock_seconds, "check_same_thread": False}
        if is_sqlite
        else {
            "connect_timeout": max(2, int(seconds)),  # libpq takes no less
            "tcp_user_timeout": milliseconds + 1000,
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
            f"-c idle_in_transaction_session_timeout={milliseconds * 5}",
        }
    )
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds,
        connect_args=connecting,
    )
    if is_sqlite:
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html: sqlite3 begins no transaction by itself from now on.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _limited(work: Callable[[Session], T], seconds: float) -> Callable[[Session], T]:
    def limited(session: Session) -> T:
        milliseconds = math.ceil(seconds * 1000)
        session.execute(text(f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}"))
        return work(session)

    return limited


def is_conflict(error: DBAPIError) -> bool:
    """Tell whether another transaction was in the way of this one, so that it may succeed when done again."""
    if isinstance(error.orig, sqlite3.OperationalError):
        return error.orig.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(error.orig, "sqlstate", None) in _CONFLICTS


def _words(error: DBAPIError) -> str:
    """Return what the log is told: no statement and no values, which are people's own."""
    words = str(error.orig).strip().partition("\n")[0]
    if words.startswith("no such table") or getattr(error.orig, "sqlstate", None) == _NO_TABLE:
        return f"{words}: the database has not been migrated; run python3 deploy/migrate.py"
    return words
