"""Fixtures of the web tier's tests: a Valkey server, a database and a `WebHarness`.

The process is patched by gevent before anything else is imported, as the web tier is.
"""

from gevent import monkey

monkey.patch_all()

import shutil  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import ExitStack  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

from millrace.worker.contract.redis.connection import Redis, connect  # noqa: E402
from millrace.worker.settings.schema import Settings  # noqa: E402
from millrace.worker.store.migration import migrate  # noqa: E402
from tests.valkey import ValkeyProcess  # noqa: E402
from tests.webapp.harness import WebHarness, stopping  # noqa: E402


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("store")) as process:
        yield process


@pytest.fixture
def client(store: ValkeyProcess) -> Iterator[Redis]:
    with connect(store.url) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an empty database with the current schema, which each test copies."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    migrate(Settings.of(database_url=f"sqlite:///{path}"))
    return path


@pytest.fixture
def database_url(migrated: Path, tmp_path: Path) -> str:
    """Return the URL of a database that only this test uses."""
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'millrace.db')}"


@pytest.fixture
def build(store: ValkeyProcess, client: Redis, database_url: str) -> Iterator[Callable[..., WebHarness]]:
    """Return a function that makes a site with the given settings, and stop all sites after the test."""
    with ExitStack() as sites:

        def make(**settings: Any) -> WebHarness:
            site = WebHarness(store.url, client, **{"database_url": database_url, "database_seconds": 20.0, **settings})
            sites.enter_context(stopping(site.app))
            return site

        yield make


@pytest.fixture
def site(build: Callable[..., WebHarness]) -> WebHarness:
    return build()
