"""The events of a stream and whole messages, as deltas."""

import json
from typing import Any, get_args

import pytest
from anthropic.types import ContentBlock, RawContentBlockDelta, RawMessageStreamEvent, StopReason

from millrace.worker.contract.events import Chunk, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic.mapping import STOP_REASONS, MessageMapper
from millrace.worker.providers.protocol import Delta, Details, ReasoningBlock, Stopped

START = {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 7}}}
STOP = {"type": "message_stop"}


def block(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, kind: str, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **content}}


def end_of(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str | None, **more: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, **more}


def map_all(*events: Any, mapper: MessageMapper | None = None) -> list[Delta]:
    mapper = mapper or MessageMapper()
    return [each for event in events for each in mapper.map("", json.dumps(event).encode())]


def fail(*events: Any) -> tuple[str, bool]:
    with pytest.raises(ProviderError) as raised:
        map_all(*events)
    return raised.value.code, raised.value.retryable


def test_a_stream_yields_its_deltas_then_the_stop_reason_details_and_usage() -> None:
    usage = {"output_tokens": 9, "cache_read_input_tokens": 3, "output_tokens_details": {"thinking_tokens": 4}}
    assert map_all(
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 7, "output_tokens": 1}}},
        block(0, type="text", text=""),
        {"type": "ping"},
        delta(0, "text_delta", text="a mill"),
        end_of(0),
        {
            "type": "message_delta",
            "delta": {
                "stop_reason": "stop_sequence",
                "stop_sequence": "END",
                "container": {"id": "c", "expires_at": "2026-01-01T00:00:00Z", "skills": []},
            },
            "usage": {**usage, "input_tokens": None, "service_tier": "priority"},
        },
        STOP,
    ) == [
        Chunk("a mill"),
        Stopped("stop_sequence"),
        Details(
            {
                "id": "msg_1",
                "service_tier": "priority",
                "stop_sequence": "END",
                "container": {"id": "c", "expires_at": "2026-01-01T00:00:00Z"},
            }
        ),
        Usage(7, 9, cache_read_tokens=3, reasoning_tokens=4),
    ]


def test_thinking_is_shown_and_kept_with_its_signature_and_what_is_redacted_is_only_kept() -> None:
    deltas = map_all(
        block(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Hm"),
        delta(0, "thinking_delta", thinking="."),
        delta(0, "signature_delta", signature="c2ln"),
        end_of(0),
        block(1, type="redacted_thinking", data="b3Bh"),
        end_of(1),
        block(2, type="thinking", thinking="Unsigned.", signature=""),
        end_of(2),
    )
    assert deltas == [
        Reasoning("Hm"),
        Reasoning("."),
        ReasoningBlock({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}),
        ReasoningBlock({"type": "redacted_thinking", "data": "b3Bh"}),
        Reasoning("Unsigned."),
    ]


def test_tool_uses_arrive_whole_in_the_order_of_their_ends() -> None:
    deltas = map_all(
        block(0, type="tool_use", id="a", name="look_up", input={}),
        block(1, type="server_tool_use", id="b", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json=""),
        delta(0, "input_json_delta", partial_json='{"q": "mi'),
        delta(1, "input_json_delta", partial_json='{"n": 1}'),
        delta(0, "input_json_delta", partial_json='ll"}'),
        end_of(1),
        end_of(0),
        block(2, type="tool_use", id="c", name="now", input={}),
        end_of(2),
        block(3, type="mcp_tool_use", id="d", name="given", input={"whole": True}),
        ending("tool_use"),
    )
    assert deltas == [
        ToolUse("b", "web_search", {"n": 1}),
        ToolUse("a", "look_up", {"q": "mill"}),
        ToolUse("c", "now", {}),
        ToolUse("d", "given", {"whole": True}),
        Stopped("tool_use"),
    ]


def test_a_tool_input_that_is_cut_off_at_the_limit_is_left_out_and_one_that_is_broken_fails() -> None:
    cut = (block(0, type="tool_use", id="a", name="b"), delta(0, "input_json_delta", partial_json='{"q'), end_of(0))
    assert map_all(*cut, ending("max_tokens")) == [Stopped("max_tokens")]
    assert fail(*cut, ending("tool_use")) == ("provider_rejected", True)
    for text in ('{"a": 1e999}', "[]", "5", '{"a": ' + "[" * 500 + "]" * 500 + "}"):
        broken = (block(0, type="tool_use", id="a", name="b"), delta(0, "input_json_delta", partial_json=text))
        assert fail(*broken, ending("tool_use")) == ("provider_rejected", True), text[:20]


def test_results_of_server_tools_are_relayed_without_what_only_serves_to_be_sent_back() -> None:
    found = {"type": "web_search_result", "title": "t", "url": "https://a.example", "encrypted_content": "x"}
    failed = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    deltas = map_all(
        block(0, type="web_search_tool_result", tool_use_id="a", content=[found]),
        block(1, type="web_search_tool_result", tool_use_id="b", content=failed),
        block(2, type="mcp_tool_result", tool_use_id="c", is_error=True, content=[{"type": "text", "text": "no"}]),
    )
    del found["encrypted_content"]
    assert deltas == [
        ToolResult("a", [found]),
        ToolResult("b", [failed], "error"),
        ToolResult("c", [{"type": "text", "text": "no"}], "error"),
    ]


def test_the_input_of_the_tool_for_answers_is_the_text() -> None:
    start = block(0, type="tool_use", id="a", name="answer", input={})
    pieces = [delta(0, "input_json_delta", partial_json=text) for text in ("", '{"title":', ' "Mill"}')]
    streamed = map_all(start, *pieces, end_of(0), ending("tool_use"), mapper=MessageMapper("answer"))
    assert streamed == [Chunk('{"title":'), Chunk(' "Mill"}'), Stopped("end_turn")]
    assert map_all(start, end_of(0), mapper=MessageMapper("answer")) == [Chunk("{}")]
    whole = {"content": [{"type": "tool_use", "id": "a", "name": "answer", "input": {"title": "Mill"}}]}
    assert MessageMapper("answer").map_message({**whole, "stop_reason": "max_tokens"}) == [
        Chunk('{"title": "Mill"}'),
        Stopped("max_tokens"),
    ]


def test_every_stop_reason_is_known_and_a_new_one_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    for reason, expected in STOP_REASONS.items():
        assert map_all(ending(reason)) == [Stopped(expected)]
    assert not caplog.records
    assert map_all(ending("a_new_reason")) == [Stopped("other")]
    assert caplog.text.count("unknown_stop_reason_accepted") == 1


def test_every_part_of_the_sdks_stream_is_mapped_or_named_here() -> None:
    """A part that this test does not know is a new one: map it, or name it."""
    mapper = MessageMapper()

    def types_of(union: Any) -> set[str]:
        return {get_args(each.model_fields["type"].annotation)[0] for each in get_args(get_args(union)[0])}

    assert types_of(RawMessageStreamEvent) <= {*mapper.event_handlers}
    assert types_of(RawContentBlockDelta) == {"text_delta", *mapper.delta_handlers}
    results = {each for each in types_of(ContentBlock) if each.endswith("_tool_result")}
    shown = {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"}
    assert types_of(ContentBlock) - results == {*shown, "container_upload"}, "a file of the code tool is left out"
    assert {*get_args(StopReason)} == {*STOP_REASONS}


def test_a_stop_reason_or_the_last_event_ends_an_answer_and_neither_means_that_it_is_cut_off() -> None:
    mapper = MessageMapper()
    assert map_all(START, delta(0, "text_delta", text="a"), mapper=mapper) == [Chunk("a")]
    assert mapper.end() == []
    assert map_all(START, STOP)[0] == Stopped("end_turn")
    mapper = MessageMapper()
    assert map_all(START, ending("end_turn"), mapper=mapper) == [Stopped("end_turn")]
    assert [type(each) for each in mapper.end()] == [Details, Usage]
    assert mapper.end() == []


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"type": "error", "error": {"type": "a_new_error"}},
        {"error": {"message": "a gateway's"}},
        {"type": "error"},
    ],
)
def test_an_error_within_the_stream_is_raised(event: Any) -> None:
    assert fail(START, event) == ("provider_unavailable", True)
    with pytest.raises(ProviderError):
        MessageMapper().map("error", b'{"detail": "no type"}')


def test_unknown_parts_are_ignored_with_one_line_in_the_log_each(caplog: pytest.LogCaptureFixture) -> None:
    unknown = [
        {"type": "a_new_event", "delta": {"text": "a"}},
        {"no": "type"},
        block(0, type="a_new_block"),
        delta(0, "a_new_delta", text="a"),
    ]
    assert map_all(*unknown * 3, delta(0, "text_delta", text="b", new=1)) == [Chunk("b")]
    assert caplog.text.count("unknown_part_of_stream_ignored") == len(unknown)


@pytest.mark.parametrize(
    "event",
    [
        5,
        [],
        {"type": 5},
        delta(0, "text_delta", text=5),
        {"type": "content_block_delta", "delta": []},
        delta(0, "thinking_delta", thinking={}),
        block(0, type="tool_use", id=5, name="a") | {"index": None},
        block(0, type="web_search_tool_result", tool_use_id="a", content=5),
        delta(0, "citations_delta", citation={"url": 5}),
        ending(None, usage=[]),
    ],
)
def test_a_member_of_a_wrong_type_is_rejected_and_retryable(event: Any) -> None:
    assert fail(event, ending("end_turn")) == ("provider_rejected", True)


def test_absent_and_null_members_say_nothing() -> None:
    events = [
        {"type": "message_start"},
        {"type": "message_start", "message": None},
        {"type": "content_block_start", "content_block": {"type": "text", "text": None, "citations": None}},
        {"type": "content_block_delta", "delta": {"type": "text_delta"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "x"}},
        {"type": "content_block_stop"},
        {"type": "message_delta", "delta": None, "usage": None},
    ]
    assert map_all(*events) == []
    assert MessageMapper().map("", b"") == []


def test_counts_that_are_none_are_left_out() -> None:
    mapper = MessageMapper()
    map_all(ending("end_turn", usage={"input_tokens": -1, "output_tokens": "many", "service_tier": 5}), mapper=mapper)
    assert mapper.end() == [Details({"service_tier": 5}), Usage(0, 0)]


def test_bedrocks_metrics_are_details() -> None:
    metrics = {"inputTokenCount": 7, "invocationLatency": 100, "firstByteLatency": 50, "odd": []}
    deltas = map_all(START, ending("end_turn"), {**STOP, "amazon-bedrock-invocationMetrics": metrics})
    (details,) = [each.fields for each in deltas if isinstance(each, Details)]
    del metrics["odd"]
    assert details["invocation_metrics"] == metrics


def test_half_of_a_surrogate_pair_passes() -> None:
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}'
    assert MessageMapper().map("content_block_delta", data) == [Chunk("\ud83d")]


def test_a_whole_message_has_the_deltas_of_its_stream() -> None:
    cited = {"type": "web_search_result_location", "url": "https://a.example/b", "title": "t", "cited_text": "c"}
    message: Any = {
        "id": "msg_1",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "tool_use", "id": "a", "name": "b", "input": {"q": [1]}},
            {"type": "text", "text": "Yes.", "citations": [cited]},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    deltas = MessageMapper().map_message(message)
    kinds = ["Reasoning", "ReasoningBlock", "ToolUse", "Chunk", "Citation", "Stopped", "Details", "Usage"]
    assert [type(each).__name__ for each in deltas] == kinds
    assert MessageMapper().map_message({"id": "msg_1"}) == []
    with pytest.raises(ProviderError):
        MessageMapper().map_message({"type": "error", "error": {"type": "api_error"}})
