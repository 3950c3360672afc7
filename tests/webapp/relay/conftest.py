from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.worker.contract.connection import Redis, connect
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import Author
from tests.webapp.relay.serving import Served

SETTINGS = Settings()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="session")
def redis(valkey: ValkeyProcess) -> Iterator[Redis]:
    with connect(valkey.url) as client:
        yield client


@pytest.fixture(scope="session")
def web(valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("web"), valkey.url) as served:
        yield served


@pytest.fixture
def author(redis: Redis) -> Author:
    return Author(redis, SETTINGS)


@pytest.fixture
def write(redis: Redis) -> Callable[[], Author]:
    return lambda: Author(redis, SETTINGS)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyProcess]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with ValkeyProcess(directory) as process:
        yield process


@pytest.fixture
def unswept_web(own_valkey: ValkeyProcess) -> Iterator[Served]:
    with Served(own_valkey.directory.parent, own_valkey.url, is_swept=False) as served:
        yield served
