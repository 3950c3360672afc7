"""Migrates a database to the latest revision, with Alembic's migrations in `migrations/`; safe to run concurrently."""

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from millrace.worker.errors import DatabaseUnavailable, SettingError
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import engine_url, is_conflict, make_engine
from millrace.worker.store.tables import Base

TIMEOUT_SECONDS = 60.0  # another process may be migrating, and a migration may take long
VERSION_TABLE = "millrace_version"  # not Alembic's default name, which a host application's own migrations use
_EARLIER_VERSION = "SELECT version_num FROM alembic_version"  # where versions up to 0.2 kept it
_OUR_COLUMNS = {
    "conversations": {"id", "owner", "context", "created_ms", "updated_ms", "deleted_ms"},
    "messages": {"id", "conversation", "turn", "rank", "role", "content", "generation", "epoch"},
    "profiles": {"owner", "content", "updated_ms"},
    "memories": {"id", "owner", "owner_word", "searchable", "digest"},
}
_RETRY_SECONDS = 0.05
_LOCK = 0x6D696C6C  # advisory locks of PostgreSQL are named by numbers; this one spells "mill"


def migrate(settings: Settings) -> tuple[str | None, str]:
    """Migrate the database; returns its revision before and after.

    The migration is one transaction: all or nothing. A second process waits for its end. Raises DatabaseUnavailable,
    and SettingError if the database has tables of another application under the names of ours.
    """
    url = engine_url(settings.database.url)
    if url.get_backend_name() == "sqlite" and url.database:
        _make_private_file(url.database)
    schema = settings.database.schema
    engine = make_engine(url, 1, TIMEOUT_SECONDS, schema=schema, lock_seconds=TIMEOUT_SECONDS)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        while True:
            try:
                with engine.begin() as connection:
                    _acquire_lock(connection)
                    _make_schema(connection, schema)
                    return _upgrade(connection)
            except DBAPIError as error:
                # SQLite does not wait for a lock if that would invalidate a read, or while it switches to WAL.
                if not is_conflict(error) or time.monotonic() > deadline:
                    raise DatabaseUnavailable(str(error.orig)) from error
            time.sleep(_RETRY_SECONDS)
    finally:
        engine.dispose()


def read_revisions(settings: Settings) -> tuple[str | None, str, bool]:
    """Return the database's revision (None if it has no tables), the latest one, and whether the first is known here.

    Raises DatabaseUnavailable. Creates nothing, but SQLite makes an empty file where there is none.
    """
    database = settings.database
    engine = make_engine(engine_url(database.url), 1, database.seconds, schema=database.schema)
    try:
        with engine.connect() as connection:
            script = ScriptDirectory.from_config(alembic_config(connection))
            current, latest = current_revision(connection), script.get_current_head()
            assert latest is not None
            return current, latest, current in {each.revision for each in script.walk_revisions()}
    except DBAPIError as error:
        raise DatabaseUnavailable(str(error.orig).strip()) from error
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
    return _context(connection).get_current_revision()


def alembic_config(connection: Connection) -> Config:
    """Return a configuration with which Alembic works on this connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    return config


def _acquire_lock(connection: Connection) -> None:
    """Acquire the migration lock, which is released when this transaction ends."""
    if _is_sqlite(connection):  # the first write acquires the file's only lock
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS millrace_migration_lock (at INTEGER)")
        connection.exec_driver_sql("DELETE FROM millrace_migration_lock")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _make_schema(connection: Connection, schema: str) -> None:
    """Make the schema of the settings; looks first, because a role that may not make one may use one."""
    found = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
    if schema and connection.exec_driver_sql(found, (schema,)).first() is None:
        connection.exec_driver_sql(f'CREATE SCHEMA "{schema}"')


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    config = alembic_config(connection)
    script = ScriptDirectory.from_config(config)
    known = {each.revision for each in script.walk_revisions()}
    _adopt_tables(connection, script, known)
    before = current_revision(connection)
    if before is not None and before not in known:
        raise DatabaseUnavailable(f"its revision {before} is newer than this version of Millrace; update Millrace")
    command.upgrade(config, "head")
    after = script.get_current_head()
    assert after is not None
    return before, after


def _adopt_tables(connection: Connection, script: ScriptDirectory, known: set[str]) -> None:
    """Copy the revision of tables that an earlier version of Millrace made into our own version table.

    Alembic's default one stays, because a return to that version needs it. Raises SettingError if another application's
    tables have the names of ours.
    """
    inspector = inspect(connection)
    present = {*inspector.get_table_names(), *inspector.get_view_names()}
    taken = sorted(present & {*Base.metadata.tables, "memories_index", "search_index"})
    if VERSION_TABLE in present or not taken:
        return
    revisions: set[str] = set()
    if "alembic_version" in present:
        revisions = set(connection.exec_driver_sql(_EARLIER_VERSION).scalars())
    are_ours = len(revisions) == 1 and revisions <= known
    for table, columns in _OUR_COLUMNS.items():
        are_ours = are_ours and table in present and columns <= {each["name"] for each in inspector.get_columns(table)}
    if not are_ours:
        advice = "name another database" + ("" if _is_sqlite(connection) else ", or set MILLRACE_DATABASE_SCHEMA")
        raise SettingError(
            f"MILLRACE_DATABASE_URL: the database has tables of another application under names that Millrace needs "
            f"({', '.join(taken)}); {advice}"
        )
    _context(connection).stamp(script, revisions.pop())


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"
