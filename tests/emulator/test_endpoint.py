"""Tests of the endpoint's routes: which requests it accepts, and which directive it follows."""

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.emulator.harness import converse_body, converse_events, emulate, rejection, text_of
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


def test_last_text_of_the_last_user_message_is_the_directive(bedrock: "BedrockRuntimeClient") -> None:
    messages = [
        {"role": "user", "content": [{"text": emulate(text="first")}]},
        {"role": "assistant", "content": [{"text": "first"}]},
        {"role": "user", "content": [{"text": "see here"}, {"text": emulate(text="second answer")}]},
        {"role": "assistant", "content": [{"text": "second"}]},
    ]
    assert text_of(converse_events(bedrock, "", messages=messages)) == " answer"


def test_question_without_a_directive_streams_the_default_answer_slowly(bedrock: "BedrockRuntimeClient") -> None:
    started = time.monotonic()
    text = text_of(converse_events(bedrock, "Why is water wet?", inferenceConfig={"maxTokens": 80}))
    assert "No model was called" in text
    assert "> Why is water wet?" in text
    assert time.monotonic() - started > 1
