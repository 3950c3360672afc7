"""Every member of botocore's model of ConverseStream has an entry in the mapping, and each is mapped correctly."""

import logging
from collections.abc import Iterable
from functools import reduce
from typing import Any, get_args

import pytest
from botocore.model import ServiceModel
from botocore.session import get_session

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.bedrock.errors import EXCEPTIONS
from millrace.worker.providers.bedrock.mapping import REASONING_FIELDS, STOP_REASONS, EventMapper, map_stop_reason
from millrace.worker.providers.protocol import Delta, Details, OutputImage, ReasoningBlock, Stopped
from millrace.worker.providers.stop_reason import StopReason, failure_of

MODEL: ServiceModel = get_session().get_service_model("bedrock-runtime")
CITATION = {"title", "source", "sourceContent", "location"}


def shape(name: str) -> Any:
    return MODEL.shape_for(name)


def exceptions() -> set[str]:
    """Return all exceptions, within the stream and instead of it, as EXCEPTIONS names them."""
    members = shape("ConverseStreamOutput").members.values()
    inner = {each.name for each in members if each.metadata.get("exception")}
    operations = ("ConverseStream", "Converse", "InvokeModelWithResponseStream", "InvokeModel")
    return inner | {each.name for name in operations for each in MODEL.operation_model(name).error_shapes}


def test_every_member_of_the_model_is_mapped() -> None:
    events = {
        name for name, each in shape("ConverseStreamOutput").members.items() if not each.metadata.get("exception")
    }
    mapper = EventMapper()
    assert set(mapper.event_handlers) == events
    assert set(mapper.start_handlers) == set(shape("ContentBlockStart").members)
    assert set(mapper.delta_handlers) == set(shape("ContentBlockDelta").members)
    assert set(REASONING_FIELDS) == set(shape("ReasoningContentBlockDelta").members)
    assert set(shape("CitationsDelta").members) == CITATION
    assert set(shape("ToolUseBlockDelta").members) == {"input"}
    assert set(shape("ToolResultBlockDelta").members) == {"text", "json"}
    assert set(STOP_REASONS) == set(shape("StopReason").enum)
    assert set(EXCEPTIONS) == exceptions()


def map_all(events: Iterable[dict[str, Any]]) -> list[Delta]:
    mapper = EventMapper()
    return [mapped for event in events for mapped in mapper.map(event)]


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"contentBlockStart": {"contentBlockIndex": index, "start": block}}


def delta(index: int, **content: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": content}}


def stop(index: int) -> dict[str, Any]:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def end(reason: str = "end_turn") -> dict[str, Any]:
    return {"messageStop": {"stopReason": reason}}


def test_text_and_reasoning_are_passed_on_unchanged() -> None:
    assert map_all(
        [
            {"messageStart": {"role": "assistant"}},
            delta(0, reasoningContent={"text": "Hm."}),
            delta(0, reasoningContent={"signature": "abc"}),
            delta(0, reasoningContent={"redactedContent": b"abc"}),
            stop(0),
            delta(1, text="Be"),
            delta(1, text="cause."),
            stop(1),
            end(),
        ]
    ) == [
        Reasoning("Hm."),
        ReasoningBlock({"redactedContent": "YWJj"}),
        *(Chunk("Be"), Chunk("cause."), Stopped("end_turn")),
    ]


def test_reasoning_is_kept_as_the_service_wants_it_back_if_it_is_signed_or_encrypted() -> None:
    mapper = EventMapper(asks_for_reasoning=True)
    events = [
        *(delta(0, reasoningContent={"text": each}) for each in ("Hm", ".")),
        *(delta(0, reasoningContent={"signature": each}) for each in ("ab", "c")),
        stop(0),
        *(delta(1, reasoningContent={"redactedContent": each}) for each in ("YWI=", b"c")),
        stop(1),
        delta(2, reasoningContent={"text": "Unsigned."}),
        stop(2),
        delta(3, reasoningContent={"text": "Late.", "signature": "d"}),
        end(),
    ]
    found = [each for event in events for each in mapper.map(event) if isinstance(each, ReasoningBlock)]
    assert found == [
        ReasoningBlock({"reasoningText": {"text": "Hm.", "signature": "abc"}}, is_requested=True),
        ReasoningBlock({"redactedContent": "YWJj"}, is_requested=True),
        ReasoningBlock({"reasoningText": {"text": "Late.", "signature": "d"}}, is_requested=True),
    ]


def test_tool_uses_that_overlap_are_each_joined_and_parsed_once() -> None:
    assert map_all(
        [
            start(0, toolUse={"toolUseId": "a", "name": "look"}),
            start(1, toolUse={"toolUseId": "b", "name": "now", "type": "server_tool_use"}),
            delta(0, toolUse={"input": '{"q": "ne'}),
            delta(1, toolUse={"input": ""}),
            delta(0, toolUse={"input": 'ws"}'}),
            stop(1),
            stop(0),
            end("tool_use"),
        ]
    ) == [ToolUse("b", "now", {}), ToolUse("a", "look", {"q": "news"}), Stopped("tool_use")]


def test_a_tool_use_without_a_stop_is_emitted_before_the_end() -> None:
    assert map_all([start(0, toolUse={"toolUseId": "a", "name": "look"}), end()]) == [
        ToolUse("a", "look", {}),
        Stopped("end_turn"),
    ]


@pytest.mark.parametrize("given", ['{"q": ', '{"q": NaN}', "[1e999]", "[" * 200 + "]" * 200, "[" * 100_000])
def test_a_tool_input_that_is_not_json_is_a_failure(given: str) -> None:
    with pytest.raises(GenerationFailed) as raised:
        map_all([*tool_of(given), stop(0), end("tool_use")])
    assert (raised.value.code, raised.value.retryable) == ("provider_rejected", True)


def tool_of(given: str) -> list[dict[str, Any]]:
    return [start(0, toolUse={"toolUseId": "a", "name": "look"}), delta(0, toolUse={"input": given})]


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_tool_input_that_is_cut_off_with_the_answer_is_left_out(is_stopped: bool) -> None:
    given = [*tool_of('{"q": "ne'), *([stop(0)] if is_stopped else [])]
    reasons = ("max_tokens", "guardrail_intervened", "model_context_window_exceeded")
    assert [map_all([*given, end(reason)]) for reason in reasons] == [
        [Stopped(map_stop_reason(each))] for each in reasons
    ]


def test_the_pieces_of_a_tool_result_are_joined() -> None:
    assert map_all(
        [
            start(0, toolResult={"toolUseId": "a", "type": "web", "status": "success"}),
            delta(0, toolResult=[{"text": "one "}]),
            delta(0, toolResult=[{"text": "two"}, {"json": {"n": 1}}]),
            stop(0),
        ]
    ) == [ToolResult("a", [{"text": "one two"}, {"json": {"n": 1}}], "success")]


def test_a_citation_keeps_the_fields_of_bedrock() -> None:
    given = {"title": "T", "source": "s", "sourceContent": [{"text": "x"}], "location": {"web": {"url": "u"}}}
    assert map_all([delta(0, citation=given)]) == [Citation("T", "s", [{"text": "x"}], {"web": {"url": "u"}})]
    assert map_all([delta(0, citation={})]) == [Citation()]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([{"contentBlockStart": {"start": {}}}, delta(0, text="a")], [Chunk("a")]),
        ([{"contentBlockStart": {}}, {"contentBlockStop": {}}, {"messageStart": None}], []),
        ([{"contentBlockStart": {"start": {"toolUse": None}}}], []),
        (
            [delta(0), {"contentBlockDelta": {}}, {"contentBlockDelta": {"delta": None}}, delta(0, text="a")],
            [Chunk("a")],
        ),
        ([delta(0, text=None, citation=None), delta(0, reasoningContent={})], []),
        ([delta(0, text="a", reasoningContent={"text": "Hm."}, new=[])], [Chunk("a"), Reasoning("Hm.")]),
        ([{"contentBlockDelta": {"delta": {"text": "a"}}}], [Chunk("a")]),
        ([{"messageStop": {}}], [Stopped("end_turn")]),
        ([{"messageStop": {"stopReason": None}}], [Stopped("end_turn")]),
        ([{"metadata": {"usage": {"inputTokens": -1, "outputTokens": "2"}}}], [Usage(0, 0)]),
        ([{"metadata": {"usage": {"inputTokens": 10**30, "outputTokens": 2}}}], [Usage(0, 2)]),
    ],
)
def test_a_member_that_says_nothing_is_ignored(events: list[dict[str, Any]], expected: list[Delta]) -> None:
    assert map_all(events) == expected


def test_a_tool_use_whose_events_name_no_block_is_joined() -> None:
    opening = {"contentBlockStart": {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "a", "name": "look"}}}}
    piece = {"contentBlockDelta": {"delta": {"toolUse": {"input": '{"q": 1}'}}}}
    assert map_all([opening, piece, {"contentBlockStop": {}}]) == [ToolUse("a", "look", {"q": 1})]


DEEP: Any = reduce(lambda inner, _: [inner], range(200), [])


@pytest.mark.parametrize(
    "event",
    [
        {"contentBlockDelta": []},
        {"contentBlockDelta": {"delta": "text"}},
        delta(0, text=5),
        delta(0, text=["a"]),
        delta(0, reasoningContent={"text": 5}),
        delta(0, reasoningContent="Hm."),
        delta(0, citation={"title": 5}),
        delta(0, citation={"sourceContent": {}}),
        delta(0, citation={"location": {"web": float("inf")}}),
        delta(0, citation={"sourceContent": DEEP}),
        delta(0, toolResult={}),
        delta(0, toolResult=["a"]),
        start(0, toolUse={}),
        start(0, toolUse={"toolUseId": "a", "name": 5}),
        {"messageStop": {"stopReason": 5}},
        {"metadata": {"usage": 5}},
    ],
)
def test_a_member_of_a_wrong_type_is_a_failure_that_may_be_retried(event: dict[str, Any]) -> None:
    with pytest.raises(GenerationFailed) as raised:
        map_all([event])
    assert (raised.value.code, raised.value.retryable) == ("provider_rejected", True)


def test_facts_beside_the_answer_are_details() -> None:
    """Every member of the event `metadata`, and the fields that the operator asks of the model, reach the outcome."""
    metadata: dict[str, Any] = {
        "usage": {"inputTokens": 1, "outputTokens": 2, "cacheDetails": [{"ttl": "5m", "inputTokens": 1}]},
        "metrics": {"latencyMs": 12},
        "trace": {"guardrail": {"inputAssessment": {}}},
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "flex"},
    }
    assert metadata.keys() == shape("ConverseStreamMetadataEvent").members.keys()
    stop = {"stopReason": "end_turn", "additionalModelResponseFields": {"stop_sequence": "END"}}
    assert stop.keys() == shape("MessageStopEvent").members.keys()
    assert map_all([{"messageStop": stop}, {"metadata": metadata}]) == [
        Details({"additional_model_response_fields": {"stop_sequence": "END"}}),
        Stopped("end_turn"),
        Details(
            {
                "trace": {"guardrail": {"inputAssessment": {}}},
                "service_tier": "flex",
                "performance": "optimized",
                "latency_ms": 12,
                "cache_details": [{"ttl": "5m", "inputTokens": 1}],
            }
        ),
        Usage(1, 2),
    ]


def test_the_input_of_the_answers_tool_is_text_as_it_comes() -> None:
    mapper = EventMapper("answer")
    events = [
        {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "1", "name": "answer"}}}},
        delta(0, toolUse={"input": '{"a":'}),
        delta(0, toolUse={"input": " 1}"}),
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "tool_use"}},
    ]
    found = [each for event in events for each in mapper.map(event)]
    assert found == [Chunk('{"a":'), Chunk(" 1}"), Stopped("end_turn")]
    events[1:3] = []
    mapper = EventMapper("answer")
    assert [each for event in events for each in mapper.map(event)] == [Chunk("{}"), Stopped("end_turn")]


def test_usage_includes_the_cache() -> None:
    usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
    cached = {**usage, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 5}
    assert map_all([{"metadata": {"usage": usage}}]) == [Usage(1, 2, 0, 0)]
    assert map_all([{"metadata": {"usage": cached}}]) == [Usage(1, 2, 4, 5)]
    assert map_all([{"metadata": {}}]) == []


def test_an_image_is_joined_of_its_pieces_and_one_without_bytes_is_none() -> None:
    """Its bytes are in base64 on the wire; an image in S3 and a failed one have none."""
    pieces = [delta(2, image={"source": {"bytes": each}}) for each in ("aGVs", b"lo", "")]
    assert map_all([start(2, image={"format": "png"}), *pieces, stop(2)]) == [OutputImage(b"hello")]
    elsewhere, failed = {"source": {"s3Location": {"uri": "s3://a"}}}, {"error": {"message": "No."}}
    assert map_all([start(0, image={}), delta(0, image=elsewhere), delta(0, image=failed), stop(0)]) == []
    assert map_all([*pieces, end()]) == [OutputImage(b"hello"), Stopped("end_turn")]
    with pytest.raises(GenerationFailed, match="unreadable"):
        map_all([delta(0, image={"source": {"bytes": "not base64"}})])


def test_unknown_events_deltas_and_stop_reasons_are_ignored_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert map_all([{"newEvent": {}}, delta(0, newDelta="x"), start(0, newBlock={}), delta(0, text="a")]) == [
            Chunk("a")
        ]
        assert map_stop_reason("new_reason") == "other"
    assert all(word in caplog.text for word in ("newEvent", "newDelta", "new_reason"))
    assert "'x'" not in caplog.text


def test_each_stop_reason_is_neutral_and_an_unknown_one_counts_as_complete() -> None:
    assert {map_stop_reason(reason) for reason in STOP_REASONS} <= {*get_args(StopReason)}
    assert failure_of(map_stop_reason("new_reason")) is None
