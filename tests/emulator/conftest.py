"""One endpoint for all of these tests, which forgets between them, and boto3 as anyone would use it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[EmulatorProcess]:
    """Run the endpoint once."""
    with EmulatorProcess() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: EmulatorProcess) -> EmulatorProcess:
    """Give each test an endpoint that has served nothing."""
    shared_emulator.forget()
    return shared_emulator


@pytest.fixture
def bedrock(emulator: EmulatorProcess) -> Iterator["BedrockRuntimeClient"]:
    """Give boto3's client, changed in nothing but the endpoint's address."""
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=emulator.url,
        region_name="us-east-1",
        aws_access_key_id="an-id",
        aws_secret_access_key="a-secret",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
    )
    yield client
    client.close()
