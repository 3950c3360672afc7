"""The database of one process: short transactions, bounded waits, and a gevent hub that is never blocked.

With PostgreSQL, psycopg's waits yield to other greenlets under gevent's monkey patches. SQLite's calls block, so
all of its work runs in one native thread. One thread is enough, because SQLite allows one writer at a time. A greenlet
that finds the file locked by another process waits outside the thread and tries again. Without the monkey patches,
both are called directly in the calling thread.
"""

import math
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from random import uniform
from typing import Any, TypeVar, cast

import gevent
from gevent.monkey import is_module_patched
from gevent.threadpool import ThreadPool
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store.prepared import Reader, lend_connection

CONNECT_SECONDS = 4  # a server that takes longer counts as away, also for a migration, whose statements may take long
SQLITE_BUSY_SECONDS = 0.001  # in the thread; if the file is locked for longer, the greenlet retries
_RETRY_SECONDS = 0.001, 0.03  # first and longest pause; the other transaction takes a millisecond or two
_TIMEOUT_SLACK_SECONDS = 0.5  # a working server cancels the statement itself; this is for one that does not answer
_CLOSE_SECONDS = 1.0
_CONFLICTS = ("40001", "40P01", "55P03")  # serialization failure, deadlock, lock not available
_UNDEFINED_TABLE = "42P01"
_READ_ONLY = "25006"

T = TypeVar("T")


class Database:
    """Runs transactions. One per process, created without I/O, shared by any number of greenlets."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.database.seconds
        url = engine_url(settings.database.url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self.name = database_name(url, settings.database.schema)
        """Tells this database from others, without its user and password."""
        self._is_patched = is_module_patched("threading")
        self._thread = ThreadPool(1) if self._is_sqlite and self._is_patched else None
        connections = 1 if self._thread else settings.database.connections
        self._engine = make_engine(url, connections, settings.database.seconds, schema=settings.database.schema)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite; otherwise it is PostgreSQL."""
        return self._is_sqlite

    def run(self, work: Callable[[Session], T], seconds: float | None = None) -> T:
        """Run `work` in one transaction and return its result; raises DatabaseUnavailable after `seconds`.

        `seconds` bounds all waiting, including that for a connection; the default is `MILLRACE_DATABASE_SECONDS`. After
        a conflict with another transaction, `work` runs again, so it must be safe to repeat. An exception that `work`
        raises rolls the transaction back and propagates.
        """
        return self._run(lambda left: self._transact(work, left), seconds)

    def read(self, work: Callable[[Reader], T], seconds: float | None = None) -> T:
        """Run `work`, which only runs prepared queries, outside of a transaction; otherwise like `run`.

        Each statement sees what was committed before it, as in a transaction of PostgreSQL's default isolation, but the
        round trips of BEGIN and COMMIT are saved, and SQLAlchemy's part, which takes longer than the query.
        """
        # Only a transaction's own timeout can be longer than that of its connection.
        if not self._is_sqlite and seconds is not None and seconds > self._seconds:
            return self.run(work, seconds)
        return self._run(lambda _left: self._read(work), seconds)

    def _run(self, attempt: Callable[[float], T], seconds: float | None) -> T:
        deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        has_reconnected = False
        pause, longest = _RETRY_SECONDS
        while True:
            try:
                return self._run_once(attempt, deadline)
            except PoolTimeout as error:
                if time.monotonic() >= deadline:
                    raise DatabaseUnavailable("all connections to the database are in use") from error
            except (OperationalError, InterfaceError, InternalError) as error:
                # A pooled connection may have died. `work` is then retried once, on a new connection.
                is_retryable = is_conflict(error) or (error.connection_invalidated and not has_reconnected)
                if not is_retryable or time.monotonic() >= deadline:
                    raise DatabaseUnavailable(_reason(error)) from error
                has_reconnected = has_reconnected or error.connection_invalidated
            except DBAPIError as error:  # a damaged file, a violated constraint, a value that the server rejects
                raise DatabaseUnavailable(_reason(error)) from error
            time.sleep(uniform(0.5, 1.5) * pause)
            pause = min(1.5 * pause, longest)

    def check(self, seconds: float) -> None:
        """Raise DatabaseUnavailable if the database does not answer within `seconds`, or has not been migrated."""
        self.run(lambda session: session.execute(text("SELECT 1 FROM conversations LIMIT 1")), seconds)

    def close(self) -> None:
        """Close the connections within a second. The database cannot be used afterwards."""
        if self._thread is not None:
            gevent.with_timeout(_CLOSE_SECONDS, self._thread.kill, timeout_value=None)
        self._engine.dispose()

    def _run_once(self, attempt: Callable[[float], T], deadline: float) -> T:
        left = max(0.001, deadline - time.monotonic())
        if not self._is_patched:
            return attempt(left)
        # Timeout is a BaseException: SQLAlchemy closes the interrupted connection and sends nothing more on it.
        timeout = gevent.Timeout(left + (0.0 if self._thread else _TIMEOUT_SLACK_SECONDS))
        try:
            with timeout:
                return attempt(left) if self._thread is None else _in_thread(self._thread, attempt, left)
        except gevent.Timeout as raised:
            if raised is not timeout:
                raise
            raise DatabaseUnavailable(f"the database has not answered within {left:.1f} s") from raised

    def _transact(self, work: Callable[[Session], T], left: float) -> T:
        # The connections' own timeouts equal `MILLRACE_DATABASE_SECONDS`; a longer wait must raise them.
        if not self._is_sqlite and left > self._seconds:
            work = _with_timeouts(work, left)
        with Session(self._engine, autoflush=False, expire_on_commit=False) as session, session.begin():
            return work(session)

    def _read(self, work: Callable[[Reader], T]) -> T:
        with lend_connection(self._engine) as connection:
            return work(connection)


def _in_thread(thread: ThreadPool, attempt: Callable[[float], T], left: float) -> T:
    """Run an attempt in the thread, and raise its error here: gevent's thread pool would print its traceback."""
    result, error = cast("tuple[T, BaseException | None]", thread.apply(_caught, (attempt, left)))
    if error is not None:
        raise error
    return result


def _caught(attempt: Callable[[float], T], left: float) -> tuple[T | None, BaseException | None]:
    try:
        return attempt(left), None
    except BaseException as error:  # noqa: BLE001 - raised again by the waiting greenlet
        return None, error


def engine_url(address: str) -> URL:
    """Return the SQLAlchemy URL for an address; PostgreSQL uses psycopg 3, whichever driver the address names."""
    url = make_url(address)
    return url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg")


def database_name(url: URL, schema: str) -> str:
    """Return a name that processes with this URL share and those of other databases do not."""
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or "").absolute())
    hosts = url.query.get("host", "")  # libpq's own way to name several, or a directory of sockets
    return f"{url.host or hosts}:{url.port or ''}/{url.database}/{schema}"


def make_engine(
    url: URL, connections: int, seconds: float, *, schema: str = "", lock_seconds: float = SQLITE_BUSY_SECONDS
) -> Engine:
    """Return an engine with a pool of `connections`; `seconds` bounds the wait for one, and each statement.

    `schema` is the only one of PostgreSQL's schemas in which tables are found. `lock_seconds` is how long SQLite itself
    waits for a lock.
    """
    milliseconds = math.ceil(seconds * 1000)
    is_sqlite = url.get_backend_name() == "sqlite"
    connect_args: dict[str, Any] = (
        {"timeout": lock_seconds, "check_same_thread": False}
        if is_sqlite
        else {
            "connect_timeout": max(2, min(CONNECT_SECONDS, int(seconds))),  # libpq's minimum is 2
            "tcp_user_timeout": milliseconds + 1000,
            "options": f"{_options_in(url)} -c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
            f"-c idle_in_transaction_session_timeout={milliseconds * 5}"
            + (f" -c search_path={schema}" if schema else ""),
        }
    )
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds,
        connect_args=connect_args,
        hide_parameters=True,  # they are users' texts, and an error's text ends up in the log
    )
    if is_sqlite:
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    else:
        event.listen(engine, "handle_error", _on_error)
    return engine


def _options_in(url: URL) -> str:
    """Return the server options that the URL has itself; ours would replace them."""
    given = url.query.get("options", "")
    return given if isinstance(given, str) else " ".join(given)


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    # Stops sqlite3 from beginning transactions itself: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html
    connection.isolation_level = None
    # `secure_delete` overwrites deleted texts, which would otherwise stay readable in free pages of the file.
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _on_error(context: ExceptionContext) -> None:
    # The server has become a replica, or was set read-only when the pool connected: only new connections find another
    # primary, or that writes are accepted again.
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _with_timeouts(work: Callable[[Session], T], seconds: float) -> Callable[[Session], T]:
    def run(session: Session) -> T:
        milliseconds = math.ceil(seconds * 1000)
        session.execute(text(f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}"))
        return work(session)

    return run


def is_conflict(error: DBAPIError) -> bool:
    """Return whether a concurrent transaction caused the error, so that a retry may succeed."""
    if isinstance(error.orig, sqlite3.OperationalError):
        return error.orig.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(error.orig, "sqlstate", None) in _CONFLICTS


def _reason(error: DBAPIError) -> str:
    """Return the reason for the log, without the statement and its values, which are users' data."""
    reason = str(error.orig).strip().partition("\n")[0]
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    if reason.startswith("no such table") or state == _UNDEFINED_TABLE:
        return f"{reason}: the database has not been migrated; run python3 deploy/migrate.py"
    if isinstance(error, DataError | IntegrityError):  # PostgreSQL quotes the value
        return f"the database rejected a value ({type(error.orig).__name__}, {state})"
    return reason
