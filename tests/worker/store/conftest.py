"""Fixtures for a database of each kind: every test that uses one runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from millrace.worker.store.migration import migrate
from millrace.worker.store.tables import Base
from tests.postgres import PostgresProcess, absent
from tests.worker.migrated_database import new_database

_SHARED = "migrated"
_SECONDS = 20.0  # the limit of a transaction; the default of 2 s is too short while other tests use the processors


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    if reason := absent():
        pytest.skip(reason)
    with PostgresProcess() as server:
        yield server


@pytest.fixture(scope="session")
def _shared(postgres: PostgresProcess) -> str:
    """The URL of the migrated database of all tests: making one of its own for each takes half of their time."""
    postgres.query(f"CREATE DATABASE {_SHARED}")
    migrate(Settings.of(database_url=postgres.url(_SHARED), database_seconds=_SECONDS))
    return postgres.url(_SHARED)


def _clear(url: str) -> None:
    """Close all other connections of a database and remove all its rows, but the version's."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
        connection.execute(f"TRUNCATE {tables}".encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database that has not been migrated."""
    if request.param == "sqlite":
        yield Settings.of(database_url=f"sqlite:///{tmp_path}/store/millrace.db", database_seconds=_SECONDS)
        return
    server: PostgresProcess = request.getfixturevalue("postgres")
    name = f"empty_{new_id()}"
    server.query(f"CREATE DATABASE {name}")
    yield Settings.of(database_url=server.url(name), database_seconds=_SECONDS)
    server.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a migrated database."""
    if request.param == "sqlite":
        yield Settings.of(database_url=new_database(tmp_path / "store"), database_seconds=_SECONDS)
        return
    url: str = request.getfixturevalue("_shared")
    yield Settings.of(database_url=url, database_seconds=_SECONDS)
    _clear(url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A migrated database."""
    opened = Database(settings)
    yield opened
    opened.close()
