"""A database that has been migrated, and a small model that is scripted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.worker.settings.schema import Settings, load
from millrace.worker.store.database import Database
from millrace.worker.store.migration import migrate
from tests.worker.context.asked import Asking


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db"})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    migrate(settings)
    opened = Database(settings)
    yield opened
    opened.close()


@pytest.fixture
def asking(database: Database) -> Asking:
    return Asking(database)


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Database]:
    """Return a database that nobody has migrated."""
    opened = Database(load({"MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/nothing.db"}))
    yield opened
    opened.close()
