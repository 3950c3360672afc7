"""The web's tests run as the web does: patched by gevent, before anything else is imported."""

from gevent import monkey

monkey.patch_all()

import shutil  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import ExitStack  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

from millrace.worker.contract.connection import Redis, connect  # noqa: E402
from millrace.worker.settings.schema import Settings  # noqa: E402
from millrace.worker.store.migration import migrate  # noqa: E402
from tests.valkey import ValkeyProcess  # noqa: E402
from tests.webapp.site import Site, stopping  # noqa: E402


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
    """An empty database, up to date, for copies."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    migrate(Settings.of(database_url=f"sqlite:///{path}"))
    return path


@pytest.fixture
def database_url(migrated: Path, tmp_path: Path) -> str:
    """The address of a database of the test's own."""
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'millrace.db')}"


@pytest.fixture
def build(store: ValkeyProcess, client: Redis, database_url: str) -> Iterator[Callable[..., Site]]:
    """Make a site with these settings."""
    with ExitStack() as sites:

        def make(**settings: Any) -> Site:
            site = Site(store.url, client, **{"database_url": database_url, "database_seconds": 20.0, **settings})
            sites.enter_context(stopping(site.app))
            return site

        yield make


@pytest.fixture
def site(build: Callable[..., Site]) -> Site:
    return build()
