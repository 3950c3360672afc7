"""The web's tests run as the web does: patched by gevent, before anything else is imported."""

from gevent import monkey

monkey.patch_all()

from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

from tests.valkey import ValkeyProcess  # noqa: E402
from tests.webapp.site import Site  # noqa: E402
from worker.contract.connection import Redis, connect  # noqa: E402


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("store")) as process:
        yield process


@pytest.fixture
def client(store: ValkeyProcess) -> Iterator[Redis]:
    with connect(store.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def build(store: ValkeyProcess, client: Redis) -> Callable[..., Site]:
    """Make a site with these settings."""

    def make(**settings: Any) -> Site:
        return Site(store.url, client, **settings)

    return make


@pytest.fixture
def site(build: Callable[..., Site]) -> Site:
    return build()
