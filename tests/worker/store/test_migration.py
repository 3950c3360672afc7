"""Bringing a database up to date."""

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
from tests.worker.desk import ROOT


def engine_of(settings: Settings) -> Engine:
    return make_engine(engine_url(settings.database.url), 1, 30, lock_seconds=30)


def differences(connection: Connection) -> list[str]:
    """What the tables of the code would have the database be, but for the full-text index, which only SQL can say."""

    def is_ours(_object: object, name: str | None, *_: object) -> bool:
        return not (name or "").startswith(("memories_index", "lexemes", "migration_lock"))

    context = MigrationContext.configure(connection, opts={"include_object": is_ours, "compare_type": True})
    return [str(each) for each in compare_metadata(context, Base.metadata)]


def test_it_is_done_once_and_makes_the_very_tables_that_the_code_has(empty: Settings) -> None:
    first, newest = migrate(empty)
    assert first is None
    assert migrate(empty) == (newest, newest)
    engine = engine_of(empty)
    with engine.begin() as connection:
        assert current_revision(connection) == newest
        assert differences(connection) == []
    engine.dispose()


def test_a_step_back_leaves_nothing_and_the_next_step_forward_all(empty: Settings) -> None:
    migrate(empty)
    engine = engine_of(empty)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with engine.begin() as connection:
        assert len(differences(connection)) >= len(Base.metadata.tables)
    engine.dispose()
    assert migrate(empty)[0] is None


def test_two_at_once_do_not_get_in_each_others_way(empty: Settings) -> None:
    command_line = (sys.executable, "-m", "millrace.worker.store")
    environment = {"MILLRACE_DATABASE_URL": empty.database.url}
    both = [
        subprocess.Popen(command_line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = sorted(each.communicate(timeout=120)[0] for each in both)
    assert [each.returncode for each in both] == [0, 0]
    assert [each.partition("(")[2] for each in said] == ["unchanged)\n", "was empty)\n"]


def test_where_there_is_no_database_the_command_says_so() -> None:
    environment = {"MILLRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    done = subprocess.run(
        [sys.executable, "-m", "millrace.worker.store"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "could not be migrated" in done.stderr
