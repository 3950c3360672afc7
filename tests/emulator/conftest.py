"""Fixtures: one endpoint for all tests, reset before each of them, and a boto3 client for it."""

import gc
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


@pytest.fixture(scope="module", autouse=True)
def sockets_of_the_sdks() -> Iterator[None]:
    """Collect the sockets that vendors' SDKs leave open after a fault: later they would be another test's warning."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
        gc.freeze()  # what is left stays, and the next collection need not look at it


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[EmulatorProcess]:
    """Run one endpoint for the whole session."""
    with EmulatorProcess() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: EmulatorProcess) -> EmulatorProcess:
    """Return the endpoint with an empty history of calls."""
    shared_emulator.clear_calls()
    return shared_emulator


@pytest.fixture
def bedrock(emulator: EmulatorProcess) -> Iterator["BedrockRuntimeClient"]:
    """Return a boto3 client that differs from a real one in its endpoint only, without retries."""
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=emulator.url,
        region_name="us-east-1",
        aws_access_key_id="an-id",
        aws_secret_access_key="a-secret",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )
    yield client
    client.close()
