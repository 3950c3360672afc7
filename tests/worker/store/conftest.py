"""Fixtures for a database of each kind: every test that uses one runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from millrace.worker.store.migration import migrate
from tests.postgres import PostgresProcess, absent
from tests.worker.migrated_database import new_database

_TEMPLATE = "migrated"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    if reason := absent():
        pytest.skip(reason)
    with PostgresProcess() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_with_template(postgres: PostgresProcess) -> PostgresProcess:
    postgres.query(f"CREATE DATABASE {_TEMPLATE}")
    migrate(Settings.of(database_url=postgres.url(_TEMPLATE)))
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database that has not been migrated."""
    if request.param == "sqlite":
        yield Settings.of(database_url=f"sqlite:///{tmp_path}/store/millrace.db")
        return
    server: PostgresProcess = request.getfixturevalue("postgres")
    name = f"empty_{new_id()}"
    server.query(f"CREATE DATABASE {name}")
    yield Settings.of(database_url=server.url(name))
    server.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a migrated database."""
    if request.param == "sqlite":
        yield Settings.of(database_url=new_database(tmp_path / "store"))
        return
    server: PostgresProcess = request.getfixturevalue("_postgres_with_template")
    name = f"test_{new_id()}"
    server.query(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY")  # half the time of the default
    yield Settings.of(database_url=server.url(name))
    server.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A migrated database."""
    opened = Database(settings)
    yield opened
    opened.close()
