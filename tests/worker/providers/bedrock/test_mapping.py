"""Every member of botocore's own model of ConverseStream has its place, and each is mapped right."""

import logging
from collections.abc import Iterable
from typing import Any

import pytest
from botocore.model import ServiceModel
from botocore.session import get_session

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.bedrock.errors import CODES
from millrace.worker.providers.bedrock.mapping import REASONING, STOP_REASONS, Mapper, failure_of_stop
from millrace.worker.providers.protocol import Delta, Stopped

MODEL: ServiceModel = get_session().get_service_model("bedrock-runtime")
CITATION = {"title", "source", "sourceContent", "location"}


def shape(name: str) -> Any:
    return MODEL.shape_for(name)


def exceptions() -> set[str]:
    """Return all exceptions, within the stream and instead of it, as CODES names them."""
    members = shape("ConverseStreamOutput").members.values()
    inner = {each.name for each in members if each.metadata.get("exception")}
    return inner | {each.name for each in MODEL.operation_model("ConverseStream").error_shapes}


def test_the_model_has_nothing_that_is_not_mapped() -> None:
    events = {
        name for name, each in shape("ConverseStreamOutput").members.items() if not each.metadata.get("exception")
    }
    mapper = Mapper()
    assert set(mapper.events) == events
    assert set(mapper.starts) == set(shape("ContentBlockStart").members)
    assert set(mapper.pieces) == set(shape("ContentBlockDelta").members)
    assert set(REASONING) == set(shape("ReasoningContentBlockDelta").members)
    assert set(shape("CitationsDelta").members) == CITATION
    assert set(shape("ToolUseBlockDelta").members) == {"input"}
    assert set(shape("ToolResultBlockDelta").members) == {"text", "json"}
    assert set(STOP_REASONS) == set(shape("StopReason").enum)
    assert set(CODES) == exceptions()


def map_all(events: Iterable[dict[str, Any]]) -> list[Delta]:
    mapper = Mapper()
    return [delta for event in events for delta in mapper.deltas(event)]


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"contentBlockStart": {"contentBlockIndex": index, "start": block}}


def piece(index: int, **delta: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}


def stop(index: int) -> dict[str, Any]:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def end(reason: str = "end_turn") -> dict[str, Any]:
    return {"messageStop": {"stopReason": reason}}


def test_text_and_reasoning_come_as_they_are() -> None:
    assert map_all(
        [
            {"messageStart": {"role": "assistant"}},
            piece(0, reasoningContent={"text": "Hm."}),
            piece(0, reasoningContent={"signature": "abc"}),
            piece(0, reasoningContent={"redactedContent": b"abc"}),
            stop(0),
            piece(1, text="Be"),
            piece(1, text="cause."),
            stop(1),
            end(),
        ]
    ) == [Reasoning("Hm."), Chunk("Be"), Chunk("cause."), Stopped("end_turn")]


def test_a_tools_use_is_joined_and_parsed_once_even_among_others() -> None:
    assert map_all(
        [
            start(0, toolUse={"toolUseId": "a", "name": "look"}),
            start(1, toolUse={"toolUseId": "b", "name": "now", "type": "server_tool_use"}),
            piece(0, toolUse={"input": '{"q": "ne'}),
            piece(1, toolUse={"input": ""}),
            piece(0, toolUse={"input": 'ws"}'}),
            stop(1),
            stop(0),
            end("tool_use"),
        ]
    ) == [ToolUse("b", "now", {}), ToolUse("a", "look", {"q": "news"}), Stopped("tool_use")]


def test_a_tools_use_that_is_never_closed_comes_before_the_end() -> None:
    assert map_all([start(0, toolUse={"toolUseId": "a", "name": "look"}), end()]) == [
        ToolUse("a", "look", {}),
        Stopped("end_turn"),
    ]


@pytest.mark.parametrize("given", ['{"q": ', '{"q": NaN}', "[1e999]"])
def test_a_tools_input_that_no_reader_could_parse_is_a_failure(given: str) -> None:
    with pytest.raises(GenerationFailed) as raised:
        map_all([start(0, toolUse={"toolUseId": "a", "name": "look"}), piece(0, toolUse={"input": given}), stop(0)])
    assert (raised.value.code, raised.value.retryable) == ("provider_rejected", True)


def test_a_tools_result_is_joined() -> None:
    assert map_all(
        [
            start(0, toolResult={"toolUseId": "a", "type": "web", "status": "success"}),
            piece(0, toolResult=[{"text": "one "}]),
            piece(0, toolResult=[{"text": "two"}, {"json": {"n": 1}}]),
            stop(0),
        ]
    ) == [ToolResult("a", [{"text": "one two"}, {"json": {"n": 1}}], "success")]


def test_a_citation_keeps_bedrocks_fields() -> None:
    given = {"title": "T", "source": "s", "sourceContent": [{"text": "x"}], "location": {"web": {"url": "u"}}}
    assert map_all([piece(0, citation=given)]) == [Citation("T", "s", [{"text": "x"}], {"web": {"url": "u"}})]
    assert map_all([piece(0, citation={})]) == [Citation()]


def test_usage_counts_the_cache_too() -> None:
    usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
    cached = {**usage, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 5}
    assert map_all([{"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}]) == [Usage(1, 2, 0, 0)]
    assert map_all([{"metadata": {"usage": cached}}]) == [Usage(1, 2, 4, 5)]
    assert map_all([{"metadata": {}}]) == []


def test_a_picture_has_no_event_and_does_no_harm() -> None:
    assert map_all([start(0, image={"format": "png"}), piece(0, image={"source": {"bytes": b"x"}}), stop(0)]) == []


def test_what_bedrock_may_add_one_day_is_passed_over_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert map_all([{"newEvent": {}}, piece(0, newDelta="x"), start(0, newBlock={}), piece(0, text="a")]) == [
            Chunk("a")
        ]
        assert failure_of_stop("new_reason") is None
    assert all(word in caplog.text for word in ("newEvent", "newDelta", "new_reason"))
    assert "'x'" not in caplog.text


def test_each_stop_reason_is_whole_or_says_what_is_wrong() -> None:
    failures = {reason: failure_of_stop(reason) for reason in STOP_REASONS}
    assert {reason for reason, failure in failures.items() if failure is None} == {
        "end_turn",
        "stop_sequence",
        "max_tokens",
        "tool_use",
    }
    assert {failure.code for failure in failures.values() if failure} == {
        "content_filtered",
        "context_too_long",
        "provider_rejected",
    }
