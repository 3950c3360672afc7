"""Tests of chat completions: the official SDK reads the endpoint's bytes, streamed and whole."""

import json
from typing import Any, cast

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from tests.emulator.harness import emulate
from tests.emulator_process import EmulatorProcess

FINISH_REASONS = [
    ({}, "stop"),
    ({"stop_reason": "max_tokens"}, "length"),
    ({"stop_reason": "content_filtered"}, "content_filter"),
    ({"tool": True}, "tool_calls"),
    ({"tool": True, "finish_reason": "stop"}, "stop"),
    ({"finish_reason": "a new one"}, "a new one"),
    ({"finish_reason": None}, None),
    ({"stop_reason": "malformed_model_output"}, "error"),
]
any_text = st.text(max_size=40)
tools = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["clock", "look_up"]), "input": st.dictionaries(any_text, any_text, max_size=2)}
    ),
    max_size=3,
)
scripts = st.fixed_dictionaries(
    {"text": any_text},
    optional={
        "reasoning": any_text.filter(bool),
        "reasoning_field": st.sampled_from(["reasoning", "reasoning_content"]),
        "tools": tools,
        "chars": st.integers(1, 9),
        "comments": st.integers(0, 2),
        "chunk_bytes": st.integers(1, 40),
        "refusal": any_text.filter(bool),
        "usage": st.fixed_dictionaries({"inputTokens": st.integers(0, 99), "cacheReadInputTokens": st.integers(0, 99)}),
    },
)


def ask(script: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the arguments of a call with one message, which scripts its answer."""
    return {"model": "a-model", "messages": [{"role": "user", "content": emulate(**script)}]} | fields


def stream(sdk: openai.OpenAI, script: dict[str, Any], **fields: Any) -> list[ChatCompletionChunk]:
    """Return the chunks of a streamed completion with its usage; raises the SDK's errors."""
    arguments = ask(script, stream=True, stream_options={"include_usage": True}) | fields
    with sdk.chat.completions.create(**arguments) as chunks:
        return list(chunks)


def fold(chunks: list[ChatCompletionChunk], reasoning_field: str) -> dict[str, Any]:
    """Return the message that the chunks add up to."""
    found: dict[str, Any] = {"text": "", "refusal": "", "reasoning": "", "calls": []}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        delta = choice.delta
        found["text"] += delta.content or ""
        found["refusal"] += delta.refusal or ""
        found["reasoning"] += getattr(delta, reasoning_field, "")
        for call in delta.tool_calls or []:
            if call.id:
                assert call.index == len(found["calls"])
                found["calls"].append([call.id, call.function and call.function.name, ""])
            found["calls"][call.index][2] += (call.function and call.function.arguments) or ""
    return found


def whole(sdk: openai.OpenAI, script: dict[str, Any], reasoning_field: str) -> tuple[dict[str, Any], Any]:
    """Return the message of a completion in one piece, in the form of `fold`, and the usage."""
    completion = sdk.chat.completions.create(**ask(script))
    message = completion.choices[0].message
    calls = [
        [call.id, cast(Any, call).function.name, cast(Any, call).function.arguments]
        for call in message.tool_calls or []
    ]
    reasoning = getattr(message, reasoning_field, "")
    found = {"text": message.content or "", "refusal": message.refusal or "", "reasoning": reasoning, "calls": calls}
    return found, completion.usage


@settings(max_examples=40)
@given(script=scripts)
def test_the_sdk_assembles_any_scripted_answer_streamed_and_whole(sdk: openai.OpenAI, script: dict[str, Any]) -> None:
    field = script.get("reasoning_field", "reasoning_content")
    chunks = stream(sdk, script)
    message, usage = whole(sdk, script, field)
    assert fold(chunks, field) == message
    assert message["text"] == ("" if "refusal" in script else script["text"])
    assert message["refusal"] == script.get("refusal", "")
    assert message["reasoning"] == script.get("reasoning", "")
    given_calls = script.get("tools", [])
    assert [[name, json.loads(arguments)] for _, name, arguments in message["calls"]] == [
        [call["name"], call["input"]] for call in given_calls
    ]
    assert len({identity for identity, _, _ in message["calls"]}) == len(given_calls)
    assert usage == chunks[-1].usage
    counts = script.get("usage", {"inputTokens": 0, "cacheReadInputTokens": 0})
    assert usage.prompt_tokens == counts["inputTokens"] + counts["cacheReadInputTokens"]
    assert usage.prompt_tokens_details.cached_tokens == counts["cacheReadInputTokens"]
    assert (usage.completion_tokens_details.reasoning_tokens > 0) == ("reasoning" in script)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_sdks_own_accumulation_gives_the_same_completion(sdk: openai.OpenAI) -> None:
    script = {"text": "Noon.", "tools": [{"name": "clock", "input": {"a": 1}}, {"name": "clock", "arguments": "{"}]}
    with sdk.chat.completions.stream(**ask(script)) as events:
        final = events.get_final_completion().choices[0]
    assert (final.message.content, final.finish_reason) == ("Noon.", "tool_calls")
    calls = final.message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"a": 1}', "{"]


@pytest.mark.parametrize(("script", "expected"), FINISH_REASONS)
def test_stop_reasons_have_openais_names_and_any_other_can_be_scripted(
    sdk: openai.OpenAI, script: dict[str, Any], expected: str | None
) -> None:
    found = [choice.finish_reason for chunk in stream(sdk, script | {"text": "x"}) for choice in chunk.choices]
    assert found[-1] == expected
    assert set(found[:-1]) == {None}
    assert sdk.chat.completions.create(**ask(script | {"text": "x"})).choices[0].finish_reason == expected


def test_usage_is_streamed_only_where_the_request_asks_for_it(sdk: openai.OpenAI) -> None:
    chunks = stream(sdk, {"text": "x"}, stream_options=None)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert "usage" not in chunks[0].model_dump(exclude_unset=True)
    (last,) = [chunk for chunk in stream(sdk, {"text": "x"}) if chunk.usage]
    assert last.choices == []


def test_reasoning_is_signed_as_openrouter_signs_it(sdk: openai.OpenAI) -> None:
    script = {"text": "x", "reasoning": "Hm.", "reasoning_field": "reasoning"}
    deltas: list[Any] = [choice.delta for chunk in stream(sdk, script) for choice in chunk.choices]
    ((detail,),) = [delta.reasoning_details for delta in deltas if hasattr(delta, "reasoning_details")]
    assert (detail["type"], bool(detail["data"])) == ("reasoning.encrypted", True)
    message: Any = sdk.chat.completions.create(**ask(script)).choices[0].message
    assert message.reasoning_details == [detail]


def test_pages_of_a_search_are_annotations_of_the_text(sdk: openai.OpenAI) -> None:
    script = {"text": "Two metres.", "search": True}
    deltas: list[Any] = [choice.delta for chunk in stream(sdk, script) for choice in chunk.choices]
    ((annotation,),) = [delta.annotations for delta in deltas if hasattr(delta, "annotations")]
    assert annotation["url_citation"]["url"] == "https://example.org/mill"
    message: Any = sdk.chat.completions.create(**ask(script)).choices[0].message
    assert [each.model_dump() for each in message.annotations] == [annotation]


def test_an_error_within_the_stream_follows_its_deltas(sdk: openai.OpenAI, emulator: EmulatorProcess) -> None:
    for fault in ("stream_error", {"status": 429, "code": "slow_down", "message": "Slow down.", "in_stream": True}):
        received: list[Any] = []
        with pytest.raises(openai.APIError) as caught:
            received.extend(sdk.chat.completions.create(**ask({"tokens": 9, "fault": fault, "at": 4}, stream=True)))
        assert caught.value.code == (None if fault == "stream_error" else "slow_down")
    assert [(call["ended"], call["deltas_sent"]) for call in emulator.calls()] == [("fault", 4)] * 2


def test_an_error_within_a_chunk_also_ends_the_answer_as_openrouter_does(emulator: EmulatorProcess) -> None:
    fault = {
        "kind": "error",
        "in_stream": True,
        "message": "Gone.",
        "body": {"error": {"code": 502, "message": "Gone."}},
    }
    lines = raw_lines(emulator, {"tokens": 2, "fault": fault, "at": 2})
    last = json.loads(lines[-1].removeprefix("data: "))
    assert last["error"] == {"code": 502, "message": "Gone."}
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["object"] == "chat.completion.chunk"


@pytest.mark.parametrize(
    ("fault", "has_finish_reason", "has_end"),
    [(None, True, True), ("no_end", True, False), ("no_stop", False, False)],
)
def test_the_end_mark_and_the_finish_reason_can_be_missing(
    emulator: EmulatorProcess, fault: str | None, *, has_finish_reason: bool, has_end: bool
) -> None:
    lines = raw_lines(emulator, {"text": "Noon.", "fault": fault, "at": 99})
    assert ("data: [DONE]" in lines) == has_end
    assert any('"finish_reason":"stop"' in line for line in lines) == has_finish_reason
    assert [line for line in lines if '"content":"."' in line or '"content":"Noon"' in line]


def test_comments_precede_each_delta(emulator: EmulatorProcess) -> None:
    lines = raw_lines(emulator, {"text": "Noon again.", "comments": 2})
    assert sum(line.startswith(": ") for line in lines) == 2 + 2 * 3
    assert lines[:2] == [": keep-alive"] * 2


def test_damaged_streams_hold_bytes_that_are_not_utf8_or_json_that_is_cut(emulator: EmulatorProcess) -> None:
    assert b"\xff" in raw_bytes(emulator, {"tokens": 3, "fault": "corrupt", "at": 1})
    lines = raw_lines(emulator, {"tokens": 3, "fault": "malformed_json", "at": 1})
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[-1].removeprefix("data: "))


def test_scripted_events_replace_the_stream(emulator: EmulatorProcess) -> None:
    events = [{"data": {"a": "é"}}, {"ping": None}, {"raw": "data: [DONE]\r\n\r\n"}]
    assert raw_bytes(emulator, {"events": events}) == (
        'data: {"a":"é"}\n\nevent: ping\ndata: null\n\ndata: [DONE]\r\n\r\n'.encode()
    )


def raw_bytes(emulator: EmulatorProcess, script: dict[str, Any]) -> bytes:
    """Return the body of a streamed completion, without its HTTP framing."""
    with openai.OpenAI(base_url=f"{emulator.url}/openai/v1", api_key="local", max_retries=0) as client:
        response = client.chat.completions.with_raw_response.create(**ask(script, stream=True))
        return response.http_response.read()


def raw_lines(emulator: EmulatorProcess, script: dict[str, Any]) -> list[str]:
    """Return the lines of a streamed completion that are not empty."""
    return [line for line in raw_bytes(emulator, script).decode().split("\n") if line]
