"""Tests of Converse and ConverseStream through boto3."""

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.emulator.harness import (
    MODEL,
    UNUSUAL_TEXT,
    converse_events,
    emulate,
    event_names,
    text_deltas,
    text_of,
    user_message,
)

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


def test_stream_has_bedrocks_events_in_order(bedrock: "BedrockRuntimeClient") -> None:
    events = converse_events(bedrock, emulate(text="Hello wheel", usage={"inputTokens": 9, "cacheWriteInputTokens": 2}))
    assert event_names(events) == ["messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert text_deltas(events) == ["Hell", "o wh", "eel"]
    assert events[-2] == {"messageStop": {"stopReason": "end_turn"}}
    usage = {"inputTokens": 9, "outputTokens": 3, "totalTokens": 14}
    assert events[-1]["metadata"]["usage"] == usage | {"cacheReadInputTokens": 0, "cacheWriteInputTokens": 2}
    assert events[-1]["metadata"]["metrics"]["latencyMs"] >= 0


def test_reasoning_and_tool_blocks_precede_the_text(bedrock: "BedrockRuntimeClient") -> None:
    tool = {"name": "clock", "input": {"zone": "UTC", "format": "short"}, "stop_reason": "tool_use"}
    events = converse_events(bedrock, emulate(reasoning="I think so.", tool=tool, text="Noon."))
    assert [event["contentBlockStop"]["contentBlockIndex"] for event in events if "contentBlockStop" in event] == [
        0,
        1,
        2,
    ]
    (start,) = [event["contentBlockStart"] for event in events if "contentBlockStart" in event]
    assert start["start"]["toolUse"]["name"] == "clock"
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    reasoning = [delta["delta"]["reasoningContent"] for delta in deltas if delta["contentBlockIndex"] == 0]
    assert "".join(part["text"] for part in reasoning[:-1]) == "I think so."
    assert reasoning[-1]["signature"]
    inputs = [delta["delta"]["toolUse"]["input"] for delta in deltas if delta["contentBlockIndex"] == 1]
    assert len(inputs) > 1
    assert json.loads("".join(inputs)) == tool["input"]
    assert text_of(events) == "Noon."
    assert {"messageStop": {"stopReason": "tool_use"}} in events


@pytest.mark.parametrize("text", [UNUSUAL_TEXT, "", "x" * 1_000_000])
def test_any_text_arrives_unchanged(bedrock: "BedrockRuntimeClient", text: str) -> None:
    assert text_of(converse_events(bedrock, emulate(text=text, chars=1_000_000))) == text


def test_split_emoji_arrives_as_two_lone_surrogates(bedrock: "BedrockRuntimeClient") -> None:
    events = converse_events(bedrock, emulate(text="a\U0001f600b", split_surrogates=True))
    assert text_deltas(events) == ["a\ud83d", "\ude00b"]


def test_empty_delta_is_sent(bedrock: "BedrockRuntimeClient") -> None:
    assert text_deltas(converse_events(bedrock, emulate(deltas=["a", "", "b"]))) == ["a", "", "b"]


def test_converse_returns_the_same_blocks_in_one_response(bedrock: "BedrockRuntimeClient") -> None:
    script = emulate(reasoning="Hm.", tool={"name": "clock", "input": {"a": 1}}, text="Noon.")
    answer = bedrock.converse(modelId=MODEL, messages=cast(Any, user_message(script)))
    reasoning, tool, text = cast(Any, answer["output"])["message"]["content"]
    assert reasoning["reasoningContent"]["reasoningText"]["text"] == "Hm."
    assert (tool["toolUse"]["name"], tool["toolUse"]["input"]) == ("clock", {"a": 1})
    assert text == {"text": "Noon."}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["outputTokens"] > 3


def test_answer_ends_at_max_tokens(bedrock: "BedrockRuntimeClient") -> None:
    events = converse_events(bedrock, emulate(tokens=50), inferenceConfig={"maxTokens": 7})
    assert len(text_deltas(events)) == 7
    assert {"messageStop": {"stopReason": "max_tokens"}} in events


def test_a_search_of_the_vendor_its_results_and_redacted_reasoning_are_blocks_of_their_own(
    bedrock: "BedrockRuntimeClient",
) -> None:
    pages = [{"title": "A", "url": "https://a.example/", "cited": "x"}, {"title": "B"}]
    message = emulate(text="Noon.", redacted="b3BhcXVl", search=pages)
    events = converse_events(bedrock, message)
    starts = [event["contentBlockStart"]["start"] for event in events if "contentBlockStart" in event]
    assert [start.get("toolUse", {}).get("type") for start in starts] == ["server_tool_use", None]
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert deltas[0] == {"reasoningContent": {"redactedContent": b"opaque"}}
    (found,) = [[each["json"]["title"] for each in delta["toolResult"]] for delta in deltas if "toolResult" in delta]
    cited = [delta["citation"]["title"] for delta in deltas if "citation" in delta]
    assert found == cited == ["A", "B"]
    assert text_of(events) == "Noon."
    response = bedrock.converse(modelId=MODEL, messages=cast(Any, user_message(message)))
    content = cast(Any, response)["output"]["message"]["content"]
    assert [next(iter(block)) for block in content] == ["reasoningContent", "toolUse", "toolResult", "citationsContent"]
    assert content[1]["toolUse"]["toolUseId"] == content[2]["toolResult"]["toolUseId"]
    citation = content[3]["citationsContent"]["citations"][0]
    assert citation["location"]["web"]["url"] == pages[0]["url"]


def test_an_answer_that_is_held_to_a_schema_is_json_of_it_and_an_open_schema_is_rejected(
    bedrock: "BedrockRuntimeClient",
) -> None:
    schema = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}

    def ask(schema_text: str) -> Any:
        structure: Any = {"jsonSchema": {"name": "answer", "schema": schema_text}}
        config: Any = {"textFormat": {"type": "json_schema", "structure": structure}}
        messages: Any = user_message("What is a mill?")
        return bedrock.converse(modelId=MODEL, messages=messages, outputConfig=config)

    closed = ask(json.dumps(schema | {"additionalProperties": False}))
    assert json.loads(closed["output"]["message"]["content"][0]["text"]) == {"topic": "What is a mill"}
    for given in (json.dumps(schema), "no JSON"):
        with pytest.raises(bedrock.exceptions.ValidationException):
            ask(given)
