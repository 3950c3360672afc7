"""Brings a database up to date, by Alembic's migrations in `migrations/`; any number of processes may do so at once."""

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

SECONDS = 60.0  # another process may be at it, and a migration may take its time
_PAUSE_SECONDS = 0.05
_LOCK = 0x6D696C6C  # PostgreSQL's advisory locks have numbers for names


def migrate(settings: Settings) -> tuple[str | None, str]:
    """Bring the database up to date; returns its revision before and after. Raises DatabaseUnavailable.

    All or nothing: it is one transaction, for whose end a second process waits.
    """
    url = engine_url(settings.database.url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = make_engine(url, 1, SECONDS, lock_seconds=SECONDS)
    deadline = time.monotonic() + SECONDS
    try:
        while True:
            try:
                with engine.begin() as connection:
                    _be_alone(connection)
                    return _upgrade(connection)
            except DBAPIError as error:
                # SQLite waits for no lock where it would have to forget what it has read, or changes to its WAL.
                if not is_conflict(error) or time.monotonic() > deadline:
                    raise DatabaseUnavailable(str(error.orig)) from error
            time.sleep(_PAUSE_SECONDS)
    finally:
        engine.dispose()


def revision_of(connection: Connection) -> str | None:
    """Return the revision that a database is at, None where it has no tables."""
    return MigrationContext.configure(connection).get_current_revision()


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration, to work on this connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _be_alone(connection: Connection) -> None:
    """Wait until no other process migrates, and hold the others up until this transaction ends."""
    if connection.dialect.name == "sqlite":  # the first write takes the file's one lock
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS migration_lock (at INTEGER)")
        connection.exec_driver_sql("DELETE FROM migration_lock")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    config = configuration(connection)
    before = revision_of(connection)
    command.upgrade(config, "head")
    after = ScriptDirectory.from_config(config).get_current_head()
    assert after is not None
    return before, after
