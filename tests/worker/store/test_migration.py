"""The migration: complete, reversible and safe to run concurrently."""

import subprocess
import sys

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine

from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import engine_url, make_engine
from millrace.worker.store.migration import alembic_config, current_revision, migrate
from millrace.worker.store.tables import Base
from tests.worker.celery_worker import ROOT


def engine_of(settings: Settings) -> Engine:
    return make_engine(engine_url(settings.database.url), 1, 30, lock_seconds=30)


def differences(connection: Connection) -> list[str]:
    """Return how the database differs from `tables.py`, apart from the full-text index, which is plain SQL."""

    def is_ours(_object: object, name: str | None, *_: object) -> bool:
        return not (name or "").startswith(("memories_index", "lexemes", "migration_lock"))

    context = MigrationContext.configure(connection, opts={"include_object": is_ours, "compare_type": True})
    return [str(each) for each in compare_metadata(context, Base.metadata)]


def test_migration_creates_exactly_the_tables_of_the_code_and_runs_once(empty: Settings) -> None:
    first, newest = migrate(empty)
    assert first is None
    assert migrate(empty) == (newest, newest)
    engine = engine_of(empty)
    with engine.begin() as connection:
        assert current_revision(connection) == newest
        assert differences(connection) == []
    engine.dispose()


def test_downgrade_drops_all_tables_and_upgrade_creates_them_again(empty: Settings) -> None:
    migrate(empty)
    engine = engine_of(empty)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with engine.begin() as connection:
        assert len(differences(connection)) >= len(Base.metadata.tables)
    engine.dispose()
    assert migrate(empty)[0] is None


def test_concurrent_migrations_both_succeed(empty: Settings) -> None:
    command_line = (sys.executable, "-m", "millrace.worker.store")
    environment = {"MILLRACE_DATABASE_URL": empty.database.url}
    processes = [
        subprocess.Popen(command_line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = sorted(each.communicate(timeout=120)[0] for each in processes)
    assert [each.returncode for each in processes] == [0, 0]
    assert [each.partition("(")[2] for each in outputs] == ["unchanged)\n", "was empty)\n"]
