"""Tests of the bytes of `generateContent`, as the official SDK reads them."""

import json
from typing import Any

import pytest
from google.genai import Client
from google.genai.errors import APIError, ServerError
from google.genai.types import GenerateContentResponse

from tests.emulator.harness import emulate
from tests.emulator.sdk import random_scripts, raw_request
from tests.emulator_process import EmulatorProcess

MODEL = "gemini-3-pro"
STREAM = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
WITH_CONTENT = ["STOP", "MAX_TOKENS"]
WITHOUT_CONTENT = [
    "SAFETY",
    "RECITATION",
    "PROHIBITED_CONTENT",
    "BLOCKLIST",
    "SPII",
    "LANGUAGE",
    "OTHER",
    "MALFORMED_FUNCTION_CALL",
]


def streamed(gemini: Client, **keys: Any) -> list[GenerateContentResponse]:
    """Return the partial responses of a stream."""
    return list(gemini.models.generate_content_stream(model=MODEL, contents=emulate(**keys)))


def whole(gemini: Client, **keys: Any) -> GenerateContentResponse:
    """Return the response that is not streamed."""
    return gemini.models.generate_content(model=MODEL, contents=emulate(**keys))


def raw_stream(emulator: EmulatorProcess, **keys: Any) -> list[bytes]:
    """Return the data of each server-sent event."""
    body = {"contents": [{"parts": [{"text": emulate(**keys)}]}]}
    status, headers, data = raw_request(emulator.url + STREAM, body, {"x-goog-api-key": "a-key"})
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    return [frame.removeprefix(b"data: ") for frame in data.split(b"\r\n\r\n") if frame]


def parts_of(*responses: GenerateContentResponse) -> list[Any]:
    """Return all parts, with consecutive texts of the same kind joined."""
    parts: list[Any] = []
    for response in responses:
        content = response.candidates[0].content if response.candidates else None
        for part in (content and content.parts) or []:
            fields = part.model_dump(exclude_none=True)
            last = parts[-1] if parts else {}
            same = ("text" in fields and "text" in last) and fields.get("thought") == last.get("thought")
            if same and not fields.get("thought_signature") and not last.get("thought_signature"):
                last["text"] += fields["text"]
            else:
                parts.append(fields)
    return [part for part in parts if part.get("text") != "" or part.get("thought_signature")]


def test_random_answers_are_the_same_as_a_stream_and_as_a_whole_and_as_they_were_scripted(gemini: Client) -> None:
    for keys in random_scripts(40, finish_reason=WITH_CONTENT):
        chunks = streamed(gemini, **keys)
        parts = parts_of(*chunks)
        texts = [part["text"] for part in parts if "text" in part and not part.get("thought")]
        assert "".join(texts) == "".join(keys["deltas"]), keys
        thoughts = [keys["reasoning"]] if "reasoning" in keys else []
        assert [part["text"] for part in parts if part.get("thought")] == thoughts
        calls = [
            (part["function_call"]["name"], part["function_call"]["args"]) for part in parts if "function_call" in part
        ]
        assert calls == [(tool["name"], tool["input"]) for tool in keys.get("tools", [])], keys
        assert all(part["thought_signature"] for part in parts if "function_call" in part)
        reasons = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
        assert reasons == [None] * (len(chunks) - 1) + [keys.get("finish_reason", "STOP")]
        once = whole(gemini, **keys)
        assert parts_of(once) == parts
        assert once.usage_metadata == chunks[-1].usage_metadata
        assert once.candidates
        assert once.candidates[0].finish_reason == reasons[-1]


def test_a_function_call_is_whole_in_one_event_and_counts_as_one_delta(
    gemini: Client, emulator: EmulatorProcess
) -> None:
    given = {"name": "look_up", "input": {"text": "long " * 100}, "id": "call-7"}
    chunks = streamed(gemini, text="", tool=given)
    calls = [call for chunk in chunks for call in chunk.function_calls or []]
    assert [(call.id, call.name, call.args) for call in calls] == [("call-7", "look_up", given["input"])]
    assert [call["deltas_sent"] for call in emulator.calls()] == [1]


def test_the_sources_of_a_search_are_grounding_at_the_end(gemini: Client) -> None:
    pages = [{"title": "A", "url": "https://a.example/"}, {"title": "B", "url": "https://b.example/"}]
    chunks = streamed(gemini, text="Höhe", search=pages)
    found = [chunk.candidates[0].grounding_metadata for chunk in chunks if chunk.candidates]
    once = whole(gemini, text="Höhe", search=pages)
    assert once.candidates
    assert found == [None] * (len(chunks) - 1) + [once.candidates[0].grounding_metadata]
    grounding = found[-1]
    assert grounding
    webs = [chunk.web for chunk in grounding.grounding_chunks or []]
    assert [{"title": web.title, "url": web.uri} for web in webs if web] == pages
    segments = [support.segment for support in grounding.grounding_supports or []]
    assert [(each.start_index, each.end_index, each.text) for each in segments if each] == [(0, 5, "Höhe")] * 2
    assert parts_of(*chunks) == parts_of(once) == [{"text": "Höhe"}]


def test_each_event_carries_the_usage_until_then(emulator: EmulatorProcess) -> None:
    usage = {"inputTokens": 11, "cacheReadInputTokens": 5, "outputTokens": 20, "reasoningTokens": 8}
    counts = [
        json.loads(data)["usageMetadata"] for data in raw_stream(emulator, tokens=4, reasoning="abcd", usage=usage)
    ]
    assert {(each["promptTokenCount"], each["cachedContentTokenCount"]) for each in counts} == {(16, 5)}
    assert (counts[-1]["candidatesTokenCount"], counts[-1]["thoughtsTokenCount"]) == (12, 8)
    assert [(each["candidatesTokenCount"], each["thoughtsTokenCount"]) for each in counts[:3]] == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]
    totals = [each["totalTokenCount"] for each in counts]
    assert totals == sorted(totals)
    assert totals[-1] == 16 + 20
    for each in counts:
        parts = each["promptTokenCount"] + each["candidatesTokenCount"] + each.get("thoughtsTokenCount", 0)
        assert parts == each["totalTokenCount"]


def test_reasons_that_stop_an_answer_come_without_content(gemini: Client, emulator: EmulatorProcess) -> None:
    for reason in WITHOUT_CONTENT:
        last = streamed(gemini, tokens=2, finish_reason=reason)[-1]
        assert last.candidates
        assert (last.candidates[0].finish_reason, last.candidates[0].content) == (reason, None)
    (data,) = raw_stream(emulator, text="", finish_reason="A_NEW_REASON")
    assert json.loads(data)["candidates"][0]["finishReason"] == "A_NEW_REASON"
    (data,) = raw_stream(emulator, text="", finish_reason="MALFORMED_FUNCTION_CALL")
    assert json.loads(data)["candidates"][0]["finishMessage"].startswith("Malformed function call")
    (data,) = raw_stream(emulator, text="", finish_reason=None)
    assert "finishReason" not in json.loads(data)["candidates"][0]


@pytest.mark.parametrize(
    ("stop_reason", "sent"),
    [
        ("content_filtered", "SAFETY"),
        ("max_tokens", "MAX_TOKENS"),
        ("tool_use", "STOP"),
        ("malformed_tool_use", "MALFORMED_FUNCTION_CALL"),
        ("malformed_model_output", "MALFORMED_RESPONSE"),
        ("guardrail_intervened", "PROHIBITED_CONTENT"),
        ("model_context_window_exceeded", "MAX_TOKENS"),
    ],
)
def test_stop_reasons_of_bedrock_become_those_of_google(gemini: Client, stop_reason: str, sent: str) -> None:
    response = whole(gemini, tokens=1, stop_reason=stop_reason)
    assert response.candidates
    assert (response.candidates[0].finish_reason, response.candidates[0].index) == (sent, 0)


def test_a_blocked_prompt_has_feedback_and_no_candidate(gemini: Client) -> None:
    for reason in ("SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT"):
        (chunk,) = streamed(gemini, tokens=3, blocked=reason)
        for response in (chunk, whole(gemini, tokens=3, blocked=reason)):
            assert response.candidates is None
            assert response.prompt_feedback
            assert response.prompt_feedback.block_reason == reason
            assert response.usage_metadata
            assert response.usage_metadata.candidates_token_count is None


@pytest.mark.parametrize("at", [0, 2])
def test_an_error_within_a_stream_is_an_event_with_the_body_of_the_response(gemini: Client, at: int) -> None:
    for fault, status in (("stream_error", "INTERNAL"), ({"in_stream": True, "status": 503}, "UNAVAILABLE")):
        texts: list[str] = []
        with pytest.raises(ServerError) as caught:
            texts.extend(
                chunk.text or ""
                for chunk in gemini.models.generate_content_stream(
                    model=MODEL, contents=emulate(tokens=5, fault=fault, at=at)
                )
            )
        assert (caught.value.status, len(texts)) == (status, at)
    with pytest.raises(APIError) as unknown:
        streamed(gemini, fault={"in_stream": True, "status": 418, "code": "A_NEW_STATUS"})
    assert unknown.value.status == "A_NEW_STATUS"


@pytest.mark.parametrize("at", [0, 5])
def test_damage_within_a_stream(emulator: EmulatorProcess, at: int) -> None:
    for fault, error in (("malformed_json", json.JSONDecodeError), ("corrupt", UnicodeDecodeError)):
        with pytest.raises(error):
            [json.loads(data.decode()) for data in raw_stream(emulator, tokens=5, fault=fault, at=at)]
    events = raw_stream(emulator, tokens=5, fault="no_stop", at=at)
    assert [json.loads(data)["candidates"][0].get("finishReason") for data in events] == [None] * at


def test_any_event_can_be_scripted_and_comments_can_come_between(emulator: EmulatorProcess) -> None:
    given = [{"x": {"candidates": []}}, {"x": None}, {"x": {"usageMetadata": {}}}]
    assert [json.loads(data) for data in raw_stream(emulator, events=given)] == [event["x"] for event in given]
    frames = raw_stream(emulator, tokens=2, comments=1)
    assert [frame.startswith(b":") for frame in frames] == [True, True, False, True, False, False]


def test_an_empty_answer_and_one_of_reasoning_only_end_in_order(gemini: Client) -> None:
    (chunk,) = streamed(gemini, text="")
    assert (chunk.text, chunk.candidates and chunk.candidates[0].finish_reason) == ("", "STOP")
    kinds = [part.get("thought") for part in parts_of(*streamed(gemini, text="", reasoning="Hm."))]
    assert kinds == [True, None]
