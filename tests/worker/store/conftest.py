"""A database of each kind: the same tests run on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from millrace.worker.store.migration import migrate
from tests.postgres import PostgresProcess, absent

_MIGRATED = "migrated"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    if why := absent():
        pytest.skip(why)
    with PostgresProcess() as running:
        yield running


@pytest.fixture(scope="session")
def _migrated(postgres: PostgresProcess) -> PostgresProcess:
    postgres.query(f"CREATE DATABASE {_MIGRATED}")
    migrate(Settings.of(database_url=postgres.url(_MIGRATED)))
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of a database that has not been migrated."""
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
    """The settings of a database that is up to date."""
    if request.param == "sqlite":
        made = Settings.of(database_url=f"sqlite:///{tmp_path}/store/millrace.db")
        migrate(made)
        yield made
        return
    server: PostgresProcess = request.getfixturevalue("_migrated")
    name = f"test_{new_id()}"
    server.query(f"CREATE DATABASE {name} TEMPLATE {_MIGRATED}")
    yield Settings.of(database_url=server.url(name))
    server.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings)
    yield opened
    opened.close()
