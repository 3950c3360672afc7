"""Tests of Bedrock's routes: which requests the endpoint accepts as Bedrock's."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.emulator.harness import converse_body, converse_events, emulate, rejection
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

CONVERSE = "/model/a-model/converse-stream"


def test_request_without_a_signature_is_forbidden(emulator: EmulatorProcess) -> None:
    status, kind, _ = rejection(emulator, CONVERSE, json.dumps(converse_body("x")).encode(), signature="")
    assert (status, kind) == (403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/model/a-model/count"),
        ("GET", CONVERSE),
        ("POST", "/_calls"),
        ("POST", "/model//invoke"),
    ],
)
def test_unknown_path_or_method_is_not_found(emulator: EmulatorProcess, method: str, path: str) -> None:
    assert rejection(emulator, path, b"{}", method)[:2] == (404, "UnknownOperationException")


def test_invalid_model_id_is_rejected(emulator: EmulatorProcess) -> None:
    path = "/model/a%20model/converse-stream"
    assert rejection(emulator, path, b"{}") == (400, "ValidationException", "The provided model identifier is invalid.")


def test_model_may_be_given_as_an_arn(bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-x-v1:0"
    converse_events(bedrock, emulate(text="x"), modelId=arn)
    assert [call["model"] for call in emulator.calls()] == [arn]
