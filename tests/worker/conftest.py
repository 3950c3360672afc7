"""The worker's tests run as the worker does: patched by gevent before anything else is imported."""

from gevent import monkey

monkey.patch_all()

# Everything below must be imported after the patching, hence E402.
from collections.abc import Callable, Iterator, Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

from millrace.worker.providers.stub import Reply, Step  # noqa: E402
from tests.emulator_process import EmulatorProcess  # noqa: E402
from tests.valkey import ValkeyProcess  # noqa: E402
from tests.worker.harness import InProcessWorker, WorkerHarness  # noqa: E402

MakeWorker = Callable[..., InProcessWorker]


@pytest.fixture(autouse=True)
def _close_harnesses() -> Iterator[None]:
    yield
    while WorkerHarness.opened:
        WorkerHarness.opened.pop().close()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyProcess]:
    directory = tmp_path / "valkey"
    directory.mkdir()
    with ValkeyProcess(directory) as running:
        yield running


@pytest.fixture
def make_worker(valkey: ValkeyProcess) -> Iterator[MakeWorker]:
    """Return a function that starts an `InProcessWorker`; its scripts are what the model plays, call by call.

    Each worker has a harness of its own, on the same Redis, unless `harness` gives one.
    """
    workers: list[InProcessWorker] = []

    def make(
        *scripts: Sequence[Step],
        replies: Mapping[str, Reply] | None = None,
        harness: WorkerHarness | None = None,
        **settings: object,
    ) -> InProcessWorker:
        harness = harness or WorkerHarness(valkey.url, **({"shutdown_grace_seconds": 0} | settings))
        workers.append(InProcessWorker(harness, scripts, replies))
        return workers[-1]

    yield make
    for worker in workers:
        worker.process.stop()


@pytest.fixture(scope="session")
def _emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as running:
        yield running


@pytest.fixture
def emulator(_emulator: EmulatorProcess) -> EmulatorProcess:
    _emulator.clear_calls()
    return _emulator
