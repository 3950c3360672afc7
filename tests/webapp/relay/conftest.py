"""Fixtures of the relay's tests: Redis, a gunicorn that serves the relay, and writers of logs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer

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
def server(valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayServer]:
    with RelayServer(tmp_path_factory.mktemp("web"), valkey.url) as server:
        yield server


@pytest.fixture
def writer(redis: Redis) -> LogWriter:
    return LogWriter(redis, SETTINGS)


@pytest.fixture
def make_writer(redis: Redis) -> Callable[[], LogWriter]:
    return lambda: LogWriter(redis, SETTINGS)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyProcess]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with ValkeyProcess(directory) as process:
        yield process


@pytest.fixture
def unswept_server(own_valkey: ValkeyProcess) -> Iterator[RelayServer]:
    with RelayServer(own_valkey.directory.parent, own_valkey.url, is_swept=False) as server:
        yield server
