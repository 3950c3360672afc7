"""Fixtures: the official SDK as a client of the endpoint, and what it assembled of an answer."""

from collections.abc import Iterator

import openai
import pytest

from tests.emulator_process import EmulatorProcess


@pytest.fixture(scope="session")
def shared_sdk(shared_emulator: EmulatorProcess) -> Iterator[openai.OpenAI]:
    """Return a client that differs from a real one in its address only, without retries."""
    with openai.OpenAI(base_url=f"{shared_emulator.url}/v1", api_key="local", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def sdk(shared_sdk: openai.OpenAI, emulator: EmulatorProcess) -> openai.OpenAI:
    """Return the client, and clear the endpoint's history of calls."""
    assert str(shared_sdk.base_url).startswith(emulator.url)
    return shared_sdk
