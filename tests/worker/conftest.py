"""The worker's tests run as the worker does: patched by gevent, before anything else is imported."""

from gevent import monkey

monkey.patch_all()

# Everything below must be imported after the patching, hence E402.
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from tests.emulator_process import EmulatorProcess  # noqa: E402
from tests.valkey import ValkeyProcess  # noqa: E402
from tests.worker.desk import Desk  # noqa: E402

settings.register_profile("patient", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _close_desks() -> Iterator[None]:
    yield
    while Desk.opened:
        Desk.opened.pop().close()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyProcess]:
    directory = tmp_path / "valkey"
    directory.mkdir()
    with ValkeyProcess(directory) as running:
        yield running


@pytest.fixture(scope="session")
def _emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as running:
        yield running


@pytest.fixture
def emulator(_emulator: EmulatorProcess) -> EmulatorProcess:
    _emulator.clear_calls()
    return _emulator
