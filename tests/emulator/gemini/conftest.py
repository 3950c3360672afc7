"""The official SDK as a client of the endpoint."""

from collections.abc import Iterator

import pytest
from google.genai import Client
from google.genai.types import HttpOptions, HttpRetryOptions

from tests.emulator_process import EmulatorProcess


@pytest.fixture(params=["v1beta"])
def gemini(emulator: EmulatorProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Return a client that differs from a real one in its address only, without retries."""
    options = HttpOptions(
        base_url=emulator.url,
        api_version=request.param,
        timeout=10_000,
        retry_options=HttpRetryOptions(attempts=1),
    )
    with Client(api_key="a-key", http_options=options) as client:
        yield client
