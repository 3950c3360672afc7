"""The official SDK as a client of the endpoint."""

from collections.abc import Iterator

import pytest
from anthropic import Anthropic

from tests.emulator_process import EmulatorProcess


@pytest.fixture
def claude(emulator: EmulatorProcess) -> Iterator[Anthropic]:
    """Return a client that differs from a real one in its address only, without retries."""
    with Anthropic(base_url=emulator.url, api_key="a-key", max_retries=0, timeout=30) as client:
        yield client
