"""A database that has been migrated, of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.contract.settings import Settings
from worker.store.database import Database
from worker.store.migration import migrate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path}/store/millrace.db")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    migrate(settings)
    opened = Database(settings)
    yield opened
    opened.close()
