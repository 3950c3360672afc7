"""Migrates a database to the latest revision, with Alembic's migrations in `migrations/`; safe to run concurrently."""

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import engine_url, is_conflict, make_engine

TIMEOUT_SECONDS = 60.0  # another process may be migrating, and a migration may take long
_RETRY_SECONDS = 0.05
_LOCK = 0x6D696C6C  # advisory locks of PostgreSQL are named by numbers; this one spells "mill"


def migrate(settings: Settings) -> tuple[str | None, str]:
    """Migrate the database; returns its revision before and after. Raises DatabaseUnavailable.

    The migration is one transaction: all or nothing. A second process waits for its end.
    """
    url = engine_url(settings.database.url)
    if url.get_backend_name() == "sqlite" and url.database:
        _make_private_file(url.database)
    engine = make_engine(url, 1, TIMEOUT_SECONDS, lock_seconds=TIMEOUT_SECONDS)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        while True:
            try:
                with engine.begin() as connection:
                    _acquire_lock(connection)
                    return _upgrade(connection)
            except DBAPIError as error:
                # SQLite does not wait for a lock if that would invalidate a read, or while it switches to WAL.
                if not is_conflict(error) or time.monotonic() > deadline:
                    raise DatabaseUnavailable(str(error.orig)) from error
            time.sleep(_RETRY_SECONDS)
    finally:
        engine.dispose()


def _make_private_file(database: str) -> None:
    """Make the file that only its owner may read, unless it exists; SQLite gives its rights to the files beside it."""
    if database == ":memory:" or database.startswith("file:"):
        return
    path = Path(database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise DatabaseUnavailable(f"{path} can't be used: {error.strerror}") from error


def current_revision(connection: Connection) -> str | None:
    """Return a database's revision; None if it has no tables."""
    return MigrationContext.configure(connection).get_current_revision()


def alembic_config(connection: Connection) -> Config:
    """Return a configuration with which Alembic works on this connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _acquire_lock(connection: Connection) -> None:
    """Acquire the migration lock, which is released when this transaction ends."""
    if connection.dialect.name == "sqlite":  # the first write acquires the file's only lock
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS migration_lock (at INTEGER)")
        connection.exec_driver_sql("DELETE FROM migration_lock")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    config = alembic_config(connection)
    before = current_revision(connection)
    command.upgrade(config, "head")
    after = ScriptDirectory.from_config(config).get_current_head()
    assert after is not None
    return before, after
