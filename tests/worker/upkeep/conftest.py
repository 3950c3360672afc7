"""Shared by the tests of the background tasks: a harness with a short lease, and a watched generation."""

from collections.abc import Iterator

import pytest

from tests.valkey import ValkeyProcess
from tests.worker.harness import WorkerHarness
from tests.worker.upkeep.watcher_harness import WatcherHarness


@pytest.fixture
def harness(valkey: ValkeyProcess) -> WorkerHarness:
    return WorkerHarness(valkey.url, lease_seconds=2)


@pytest.fixture
def watch(harness: WorkerHarness) -> Iterator[WatcherHarness]:
    made = WatcherHarness(harness)
    yield made
    made.stop()
