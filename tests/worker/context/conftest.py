"""A migrated database, a conversation in it, and a worker process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.worker.settings.schema import Settings, load
from millrace.worker.store.database import Database
from tests.emulator_process import EmulatorProcess
from tests.valkey import ValkeyProcess
from tests.worker.context.harness import ContextHarness, StoredConversation
from tests.worker.migrated_database import new_database


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"MILLRACE_DATABASE_URL": new_database(tmp_path)})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture
def conversation(database: Database) -> StoredConversation:
    return StoredConversation(database)


@pytest.fixture
def unmigrated_database(tmp_path: Path) -> Iterator[Database]:
    """Return a database without tables, whose every call raises DatabaseUnavailable."""
    database = Database(load({"MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/nothing.db"}))
    yield database
    database.close()


@pytest.fixture
def start_worker(valkey: ValkeyProcess, emulator: EmulatorProcess) -> Iterator[Callable[..., ContextHarness]]:
    """Return a function that starts a worker process with the given settings."""
    harnesses: list[ContextHarness] = []

    def start(**settings: object) -> ContextHarness:
        harnesses.append(ContextHarness(valkey.url, emulator, **settings))
        return harnesses[-1]

    yield start
    for harness in harnesses:
        harness.stop()
