"""Tests of the mapper that both framings of Anthropic's events use."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.emulator.anthropic.test_messages_format import raw_stream
from tests.emulator.harness import anthropic_body, emulate, invoke_events
from tests.emulator.sdk import random_scripts
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


def test_bedrocks_events_are_those_of_the_messages_api_in_another_frame(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    for keys in random_scripts(8, redacted=[True]):
        direct = [json.loads(data) for name, data in raw_stream(emulator, **keys) if name != "ping"]
        framed = invoke_events(bedrock, anthropic_body(emulate(**keys)))
        assert [event["type"] for event in framed] == [event["type"] for event in direct], keys
        blocks = [event for event in direct if event["type"].startswith("content_block")]
        assert [event for event in framed if event["type"].startswith("content_block")] == blocks
        assert "amazon-bedrock-invocationMetrics" in framed[-1]


@pytest.mark.parametrize(
    ("stop_reason", "sent"),
    [("content_filtered", "refusal"), ("malformed_tool_use", "tool_use"), ("model_context_window_exceeded",) * 2],
)
def test_stop_reasons_of_bedrock_become_those_of_anthropic(
    emulator: EmulatorProcess, stop_reason: str, sent: str
) -> None:
    events = dict(raw_stream(emulator, tokens=1, stop_reason=stop_reason))
    assert json.loads(events["message_delta"])["delta"]["stop_reason"] == sent
