"""Tests of InvokeModel and InvokeModelWithResponseStream through boto3."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.emulator.harness import MODEL, UNUSUAL_TEXT, anthropic_body, emulate, invoke_events

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


def test_stream_has_anthropics_events_in_order(bedrock: "BedrockRuntimeClient") -> None:
    script = emulate(reasoning="Hm.", tool={"name": "clock", "input": {"a": 1}}, text=UNUSUAL_TEXT)
    events = invoke_events(bedrock, anthropic_body(script))
    names = [event["type"] for event in events if event["type"] != "content_block_delta"]
    block = ["content_block_start", "content_block_stop"]
    assert names == ["message_start", *block, *block, *block, "message_delta", "message_stop"]
    kinds = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert kinds == ["thinking", "tool_use", "text"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == UNUSUAL_TEXT
    assert "".join(delta.get("partial_json", "") for delta in deltas) == '{"a": 1}'
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == len(deltas)


def test_invoke_model_returns_anthropics_message(bedrock: "BedrockRuntimeClient") -> None:
    body = anthropic_body(emulate(text="Noon."), system="Be brief.")
    message = json.loads(bedrock.invoke_model(modelId=MODEL, body=body)["body"].read())
    assert message["content"] == [{"type": "text", "text": "Noon."}]
    assert (message["stop_reason"], message["model"]) == ("end_turn", MODEL)


def test_answer_ends_at_max_tokens(bedrock: "BedrockRuntimeClient") -> None:
    events = invoke_events(bedrock, anthropic_body(emulate(tokens=50), max_tokens=7))
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"


def test_a_forced_tool_and_a_schema_are_answered_and_a_tool_without_a_schema_is_rejected(
    bedrock: "BedrockRuntimeClient",
) -> None:
    schema = {"type": "object", "properties": {"topic": {"type": "string"}}, "additionalProperties": False}
    tool = {"name": "name_it", "input_schema": schema}
    forced = {"tools": [tool], "tool_choice": {"type": "tool", "name": "name_it"}}
    held = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    for fields, kind in ((forced, "tool_use"), (held, "text")):
        body = json.loads(anthropic_body("What is a mill?")) | fields
        message = json.loads(bedrock.invoke_model(modelId=MODEL, body=json.dumps(body))["body"].read())
        (block,) = message["content"]
        assert block["type"] == kind
        assert (block["input"] if kind == "tool_use" else json.loads(block["text"])).keys() <= {"topic"}
    broken = json.loads(anthropic_body("What?")) | {"tools": [{"name": "a"}]}
    with pytest.raises(bedrock.exceptions.ValidationException):
        bedrock.invoke_model(modelId=MODEL, body=json.dumps(broken))
