"""Tests of the endpoint: which directive it follows, and how it answers without one."""

import time
from typing import TYPE_CHECKING

from tests.emulator.harness import converse_events, emulate, text_of

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


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
