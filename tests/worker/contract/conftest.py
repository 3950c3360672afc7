"""The fixtures of the contract's tests: a real Valkey, emptied before each test."""

from collections.abc import Iterator

import pytest

from millrace.worker.contract.redis.connection import Redis, connect
from tests.valkey import ValkeyProcess


@pytest.fixture(scope="package")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis(valkey: ValkeyProcess) -> Iterator[Redis]:
    with connect(valkey.url) as client:
        client.flushall()
        yield client
