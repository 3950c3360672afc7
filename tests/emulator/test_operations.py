"""The four operations, through boto3 with nothing but its endpoint changed."""

import json
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.emulator.asking import (
    MODEL,
    anthropic_body,
    converse_events,
    invoke_events,
    names_of,
    said_by_user,
    scripted,
    text_of,
    texts_of,
)
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

WEIRD = "a\x00b\r\nc\u2028d\u2029 \U0001f600 שלום \ud800 e\u0301\ufffe"


def test_converse_stream_gives_the_events_in_bedrocks_order(bedrock: "BedrockRuntimeClient") -> None:
    events = converse_events(
        bedrock, scripted(text="Hello wheel", usage={"inputTokens": 9, "cacheWriteInputTokens": 2})
    )
    assert names_of(events) == ["messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert texts_of(events) == ["Hell", "o wh", "eel"]
    assert events[-2] == {"messageStop": {"stopReason": "end_turn"}}
    usage = {"inputTokens": 9, "outputTokens": 3, "totalTokens": 14}
    assert events[-1]["metadata"]["usage"] == usage | {"cacheReadInputTokens": 0, "cacheWriteInputTokens": 2}
    assert events[-1]["metadata"]["metrics"]["latencyMs"] >= 0


def test_reasoning_and_a_tool_come_as_blocks_before_the_text(bedrock: "BedrockRuntimeClient") -> None:
    tool = {"name": "clock", "input": {"zone": "UTC", "format": "short"}, "stop_reason": "tool_use"}
    events = converse_events(bedrock, scripted(reasoning="I think so.", tool=tool, text="Noon."))
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


@pytest.mark.parametrize("text", [WEIRD, "", "x" * 1_000_000])
def test_any_text_comes_through(bedrock: "BedrockRuntimeClient", text: str) -> None:
    assert text_of(converse_events(bedrock, scripted(text=text, chars=1_000_000))) == text


def test_an_emoji_cut_in_two_comes_as_two_lone_surrogates(bedrock: "BedrockRuntimeClient") -> None:
    events = converse_events(bedrock, scripted(text="a\U0001f600b", split_surrogates=True))
    assert texts_of(events) == ["a\ud83d", "\ude00b"]


def test_an_empty_delta_is_a_delta(bedrock: "BedrockRuntimeClient") -> None:
    assert texts_of(converse_events(bedrock, scripted(deltas=["a", "", "b"]))) == ["a", "", "b"]


def test_converse_gives_the_same_answer_at_once(bedrock: "BedrockRuntimeClient") -> None:
    script = scripted(reasoning="Hm.", tool={"name": "clock", "input": {"a": 1}}, text="Noon.")
    answer = bedrock.converse(modelId=MODEL, messages=cast(Any, said_by_user(script)))
    reasoning, tool, text = cast(Any, answer["output"])["message"]["content"]
    assert reasoning["reasoningContent"]["reasoningText"]["text"] == "Hm."
    assert (tool["toolUse"]["name"], tool["toolUse"]["input"]) == ("clock", {"a": 1})
    assert text == {"text": "Noon."}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["outputTokens"] > 3


def test_invoke_with_response_stream_gives_anthropics_events(bedrock: "BedrockRuntimeClient") -> None:
    script = scripted(reasoning="Hm.", tool={"name": "clock", "input": {"a": 1}}, text=WEIRD)
    events = invoke_events(bedrock, anthropic_body(script))
    names = [event["type"] for event in events if event["type"] != "content_block_delta"]
    block = ["content_block_start", "content_block_stop"]
    assert names == ["message_start", *block, *block, *block, "message_delta", "message_stop"]
    kinds = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert kinds == ["thinking", "tool_use", "text"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == WEIRD
    assert "".join(delta.get("partial_json", "") for delta in deltas) == '{"a": 1}'
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == len(deltas)


def test_invoke_gives_anthropics_message(bedrock: "BedrockRuntimeClient") -> None:
    body = anthropic_body(scripted(text="Noon."), system="Be brief.")
    message = json.loads(bedrock.invoke_model(modelId=MODEL, body=body)["body"].read())
    assert message["content"] == [{"type": "text", "text": "Noon."}]
    assert (message["stop_reason"], message["model"]) == ("end_turn", MODEL)


def test_the_answer_is_cut_at_max_tokens(bedrock: "BedrockRuntimeClient") -> None:
    events = converse_events(bedrock, scripted(tokens=50), inferenceConfig={"maxTokens": 7})
    assert len(texts_of(events)) == 7
    assert {"messageStop": {"stopReason": "max_tokens"}} in events
    cut = invoke_events(bedrock, anthropic_body(scripted(tokens=50), max_tokens=7))
    assert cut[-2]["delta"]["stop_reason"] == "max_tokens"


def test_an_unscripted_question_streams_and_says_that_no_model_was_called(bedrock: "BedrockRuntimeClient") -> None:
    begun = time.monotonic()
    text = text_of(converse_events(bedrock, "Why is water wet?", inferenceConfig={"maxTokens": 80}))
    assert "No model was called" in text
    assert "> Why is water wet?" in text
    assert time.monotonic() - begun > 1


def test_deltas_come_at_their_rate_and_never_before_their_time(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    converse_events(bedrock, scripted(tokens=21, rate=50, first_delay=0.3))
    (call,) = emulator.calls()
    first, last = call["sent_at"]
    assert first - call["started"] >= 0.3
    assert last - call["started"] >= 0.3 + 20 / 50 - 0.005  # the wall clock may be slewed against the loop's


def test_a_whole_answer_takes_the_time_of_its_deltas(bedrock: "BedrockRuntimeClient") -> None:
    begun = time.monotonic()
    bedrock.converse(modelId=MODEL, messages=cast(Any, said_by_user(scripted(tokens=11, rate=50, first_delay=0.1))))
    assert time.monotonic() - begun >= 0.3


def test_the_last_text_of_the_last_user_message_is_the_script(bedrock: "BedrockRuntimeClient") -> None:
    messages = [
        {"role": "user", "content": [{"text": scripted(text="first")}]},
        {"role": "assistant", "content": [{"text": "first"}]},
        {"role": "user", "content": [{"text": "see here"}, {"text": scripted(text="second answer")}]},
        {"role": "assistant", "content": [{"text": "second"}]},
    ]
    assert text_of(converse_events(bedrock, "", messages=messages)) == " answer"


def test_a_model_may_be_named_by_an_arn(bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-x-v1:0"
    converse_events(bedrock, scripted(text="x"), modelId=arn)
    assert [call["model"] for call in emulator.calls()] == [arn]
