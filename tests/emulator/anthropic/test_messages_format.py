"""Tests of the Messages API's bytes, as the official SDK reads them."""

import json
from typing import Any, cast

import pytest
from anthropic import Anthropic, APIStatusError
from anthropic.types import Message

from tests.emulator.sdk import random_scripts, raw_request, scripted
from tests.emulator_process import EmulatorProcess

MODEL = "claude-sonnet-5"
HEADERS = {"x-api-key": "a-key", "anthropic-version": "2023-06-01"}
REASONS = ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "a_new_reason"]


def streamed(claude: Anthropic, **keys: Any) -> Message:
    """Return the message that the SDK assembles of a stream."""
    with claude.messages.stream(model=MODEL, max_tokens=9999, messages=cast(Any, scripted(**keys))) as stream:
        for _ in stream:
            pass
        return stream.get_final_message()


def whole(claude: Anthropic, **keys: Any) -> Message:
    """Return the message of a response that is not streamed."""
    return claude.messages.create(model=MODEL, max_tokens=9999, messages=cast(Any, scripted(**keys)))


def raw_stream(emulator: EmulatorProcess, **keys: Any) -> list[tuple[str, Any]]:
    """Return the name and the data of each server-sent event."""
    body = {"model": MODEL, "max_tokens": 9999, "messages": scripted(**keys), "stream": True}
    status, headers, data = raw_request(f"{emulator.url}/v1/messages", body, HEADERS)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    events = [frame.partition(b"\n") for frame in data.split(b"\n\n") if frame]
    return [(name.decode().removeprefix("event: "), line.removeprefix(b"data: ")) for name, _, line in events]


def test_random_answers_are_the_same_as_a_stream_and_as_a_whole_and_as_they_were_scripted(claude: Anthropic) -> None:
    for keys in random_scripts(40, search=[True, [{"title": "é", "url": "https://a.example/"}]], finish_reason=REASONS):
        message = streamed(claude, **keys)
        content = [block.model_dump(exclude_none=True) for block in message.content]
        of_kind = {kind: [block for block in content if block["type"] == kind] for kind in ("text", "thinking")}
        assert [block["text"] for block in of_kind["text"]] == ["".join(keys["deltas"])] * bool(of_kind["text"]), keys
        thoughts = [keys["reasoning"]] if "reasoning" in keys else []
        assert [block["thinking"] for block in of_kind["thinking"]] == thoughts
        used = [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
        assert used == [(tool["name"], tool["input"]) for tool in keys.get("tools", [])]
        pages = keys.get("search", [])
        pages = [{"url": "https://example.org/mill"}] if pages is True else pages
        for block in content:
            if block["type"] == "web_search_tool_result":
                assert [found["url"] for found in block["content"]] == [page["url"] for page in pages]
            if block.get("citations"):
                assert [cited["url"] for cited in block["citations"]] == [page["url"] for page in pages]
        assert message.stop_reason == keys.get("finish_reason", "end_turn")
        assert message.usage.cache_read_input_tokens == keys.get("usage", {}).get("cacheReadInputTokens", 0)
        once = whole(claude, **keys)
        assert once.usage.service_tier == "standard"
        once.usage.service_tier = None
        assert once.model_dump() == message.model_dump(), keys


def test_events_come_in_anthropics_order_and_each_names_its_type(emulator: EmulatorProcess) -> None:
    events = raw_stream(emulator, text="Hi", reasoning="So", redacted="b3Bh", search=True, chars=2)
    decoded = [json.loads(data) for _, data in events]
    assert [name for name, _ in events] == [event["type"] for event in decoded]
    assert [name for name, _ in events][:2] == ["message_start", "ping"]
    assert [name for name, _ in events][-3:] == ["content_block_stop", "message_delta", "message_stop"]
    starts = [event["content_block"]["type"] for event in decoded if event["type"] == "content_block_start"]
    kinds = ["thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result", "text"]
    assert starts == kinds
    stops = [event["index"] for event in decoded if event["type"] == "content_block_stop"]
    assert stops == [0, 1, 2, 3, 4]
    deltas = [event["delta"]["type"] for event in decoded if event["type"] == "content_block_delta"]
    assert deltas[:2] == ["thinking_delta", "signature_delta"]
    assert deltas[-2:] == ["text_delta", "citations_delta"]


def test_usage_is_cumulative_and_its_input_excludes_cached_tokens(emulator: EmulatorProcess) -> None:
    usage = {"inputTokens": 11, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 3, "outputTokens": 9}
    events = dict(raw_stream(emulator, tokens=2, reasoning="abcd", usage=usage))
    started, ended = (
        json.loads(events["message_start"])["message"]["usage"],
        json.loads(events["message_delta"])["usage"],
    )
    given = {"input_tokens": 11, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5}
    assert started == given | {"output_tokens": 1}
    assert ended == given | {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 2}}


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("stream_error", "api_error"),
        ({"in_stream": True, "code": "overloaded_error", "status": 529}, "overloaded_error"),
        ({"in_stream": True, "code": "a_new_error"}, "a_new_error"),
    ],
)
def test_an_error_within_a_stream_is_an_event_with_the_body_of_the_response(
    claude: Anthropic, emulator: EmulatorProcess, at: int, fault: Any, kind: str
) -> None:
    messages = cast(Any, scripted(tokens=5, fault=fault, at=at))
    events: list[Any] = []
    with pytest.raises(APIStatusError) as caught:
        events.extend(claude.messages.create(model=MODEL, max_tokens=9, stream=True, messages=messages))
    assert (caught.value.type, emulator.calls()[0]["deltas_sent"]) == (kind, at)
    assert [event.type for event in events].count("content_block_delta") == at
    assert emulator.calls()[0]["ended"] == "fault"


@pytest.mark.parametrize("at", [0, 5])
def test_damage_within_a_stream(emulator: EmulatorProcess, at: int) -> None:
    names = {fault: raw_stream(emulator, tokens=5, fault=fault, at=at) for fault in ("malformed_json", "corrupt")}
    for fault, events in names.items():
        with pytest.raises(UnicodeDecodeError if fault == "corrupt" else json.JSONDecodeError):
            [json.loads(data.decode()) for _, data in events]
    for fault, last in (("no_stop", "content_block_delta" if at else "ping"), ("no_end", "message_delta")):
        assert raw_stream(emulator, tokens=5, fault=fault, at=at)[-1][0] == last


def test_any_event_can_be_scripted(emulator: EmulatorProcess) -> None:
    given = [{"message_start": {"type": "message_start"}}, {"a_new_event": None}, {"ping": {"type": "ping"}}]
    events = raw_stream(emulator, events=given)
    assert [{name: json.loads(data)} for name, data in events] == given


def test_pings_can_come_before_each_delta(claude: Anthropic, emulator: EmulatorProcess) -> None:
    names = [name for name, _ in raw_stream(emulator, tokens=3, comments=2)]
    assert names.count("ping") == 1 + 2 + 3 * 2
    assert len(streamed(claude, tokens=3, comments=2).content) == 1


def test_an_empty_answer_and_one_of_reasoning_only_end_in_order(claude: Anthropic) -> None:
    assert streamed(claude, text="").content == whole(claude, text="").content == []
    assert [block.type for block in streamed(claude, text="", reasoning="Hm.").content] == ["thinking"]
